from pathlib import Path

from legalqa.knowledge.statutes import Statutes
from tests.legalqa.knowledge.laws import CIVIL, OLD, small_statutes


def test_round_trip(tmp_path: Path) -> None:
    statutes = small_statutes()
    statutes.save(tmp_path / "statutes.jsonl")
    assert Statutes.load(tmp_path / "statutes.jsonl").articles == statutes.articles


def test_status() -> None:
    statutes = small_statutes()
    assert statutes.status(CIVIL) == "in_force"
    assert statutes.status("中华人民共和国婚姻法") == "repealed"
    assert statutes.status("星际法") is None
    assert OLD not in {article.law for article in statutes.in_force()}


def test_packaged_statutes_are_whole() -> None:
    statutes = Statutes.packaged()
    assert len({article.law for article in statutes.in_force()}) > 300
    assert sum(article.law == CIVIL for article in statutes.articles) == 1260
    divorce = statutes.article(CIVIL, "1079")
    assert divorce is not None
    assert "感情确已破裂" in divorce.text
    last_of_part = statutes.article(CIVIL, "204")
    assert last_of_part is not None
    assert "第二编" not in last_of_part.text
    drunk_driving = statutes.article("中华人民共和国刑法", "133-1")
    assert drunk_driving is not None
    assert drunk_driving.status == "amended"
