import json
import re
from pathlib import Path

from legalqa.evaluation import table
from legalqa.evaluation.compare import Bootstrap
from legalqa.evaluation.picture import draw
from legalqa.evaluation.report import ARMS, render
from legalqa.evaluation.scores import Scorer
from legalqa.evaluation.similarity import Similarity
from legalqa.knowledge.statutes import Statutes
from legalqa.params import Arm, EvaluateParams
from tests.legalqa.evaluation.conftest import answer


def _page(statutes: Statutes, similarity: Similarity, text: str) -> str:
    answers = {
        "base": [answer(text), answer("不知道。", "另一问？")],
        "tuned": [answer("《民法典》第1079条、婚姻法第三十二条", arm="tuned"), answer("", "另一问？", arm="tuned")],
        "floor_boilerplate": [answer("套话", arm="floor_boilerplate")] * 2,
    }
    parts = {arm: [Scorer(statutes, [], similarity).score(one) for one in of] for arm, of in answers.items()}
    rows = table.rows(parts, Bootstrap(2, 100, 0.95, seed=1))
    return render(rows, [], answers, parts, statutes, EvaluateParams(arms=["base", "tuned"]))


def _data(page: str) -> object:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_page_holds_scores_answers_and_the_law_they_cite(statutes: Statutes, similarity: Similarity) -> None:
    data = _data(_page(statutes, similarity, "可以。"))
    assert isinstance(data, dict)
    assert [arm["name"] for arm in data["arms"]] == ["base", "tuned", "floor_boilerplate"]
    first = data["questions"][0]
    assert [side["text"] for side in first["answers"]] == ["可以。", "《民法典》第1079条、婚姻法第三十二条"]
    marks = first["answers"][1]["marks"]
    assert [status for _, _, status, _ in marks] == ["valid", "repealed"]
    assert "应当准予离婚" in data["articles"][marks[0][3]]
    assert any(row["verdict"] for row in data["rows"])


def test_text_can_not_end_the_script_or_reach_the_network(statutes: Statutes, similarity: Similarity) -> None:
    evil = '</script><img src="http://evil.example/x" onerror=alert(1)>'
    page = _page(statutes, similarity, evil)
    assert "</script><img" not in page
    data = _data(page)
    assert isinstance(data, dict)
    assert data["questions"][0]["answers"][0]["text"] == evil
    outside = re.findall(r'(?:src|href)="?https?:|url\(|@import', page.replace(json.dumps(evil), ""))
    assert [match for match in outside if "evil" not in match] in ([], ['src="http:'], ['src=\\"http:'])


def test_every_arm_of_the_params_has_a_name() -> None:
    assert set(Arm.__args__) <= set(ARMS)  # type: ignore[attr-defined]


def test_the_picture_repeats_byte_by_byte(statutes: Statutes, similarity: Similarity, tmp_path: Path) -> None:
    parts = {"base": [Scorer(statutes, [], similarity).score(answer("可以离婚。"))] * 3}
    rows = table.rows(parts, Bootstrap(3, 100, 0.95, seed=1))
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    draw(rows, one)
    draw(rows, other)
    assert one.read_bytes() == other.read_bytes()
