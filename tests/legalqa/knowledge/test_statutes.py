from pathlib import Path

from legalqa.knowledge.statutes import Statutes
from tests.legalqa.knowledge.laws import CIVIL, OLD, article, small_statutes


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


def test_law_of_the_stated_day() -> None:
    law = {name: f"中华人民共和国{name}" for name in ("商标法", "医疗保障法", "环境保护法", "生态环境法典")}
    before, now, later = (Statutes.packaged(day) for day in ("2026-08-14", "2026-11-25", "2027-01-01"))
    assert before.status(law["环境保护法"]) == "in_force"
    assert before.status(law["生态环境法典"]) is None
    assert now.status(law["环境保护法"]) == "repealed"
    assert now.status(law["医疗保障法"]) is None
    assert later.status(law["医疗保障法"]) == "in_force"
    old, new = (statutes.article(law["商标法"], "73") for statutes in (now, later))
    assert old is not None
    assert new is not None
    assert old.text != new.text


def test_repealing_clauses_are_read() -> None:
    statutes = Statutes([article(CIVIL, "1260", "本法自2021年1月1日起施行。《某甲法》、《某乙法》同时废止。")])
    assert statutes.status("某甲法") == statutes.status("某乙法") == "repealed"
