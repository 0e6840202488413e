from collections import Counter
from pathlib import Path

import pytest

from legalqa.knowledge.citations import PREFIX, check, find, keys
from legalqa.knowledge.statutes import Statutes
from tests.legalqa.knowledge.laws import CIVIL, CRIMINAL, LABOUR, small_statutes

STATUTES = small_statutes()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("《中华人民共和国民法典》第一千零七十九条规定", [(CIVIL, "1079")]),
        ("根据《民法典》第1079条第二款第（三）项", [(CIVIL, "1079")]),
        ("民法典1079条", [(CIVIL, "1079")]),
        ("依照民法典第 1079 条、第一千零八十条和第1127条", [(CIVIL, "1079"), (CIVIL, "1080"), (CIVIL, "1127")]),
        ("《劳动合同法》第三十八条、四十六条、四十七条", [(LABOUR, "38"), (LABOUR, "46"), (LABOUR, "47")]),
        ("《民法典》规定如下……该法第一千零六十二条又说", [(CIVIL, "1062")]),
        ("《刑法》第一百三十三条之一", [(CRIMINAL, "133-1")]),
        ("《中华人民共和国刑法（2020年修正）》第二百六十四条", [(CRIMINAL, "264")]),
        ("《刑法》（1997年）第264条", [(CRIMINAL, "264")]),
        ("《婚姻法》第三十二条", [("中华人民共和国婚姻法", "32")]),
        ("《民法典》第188条。合同第五条约定了违约金", [(CIVIL, "188")]),
        ("第五条没有说是哪部法律", []),
        ("劳动合同法第八十二条，民法典第188条", [(LABOUR, "82"), (CIVIL, "188")]),
        ("《某某条例》第三条", [("某某条例", "3")]),
        ("一共三条，民法典很重要", []),
    ],
)
def test_find(text: str, wanted: list[tuple[str, str]]) -> None:
    assert [citation.key for citation in find(text, STATUTES)] == wanted


def test_place_in_the_text() -> None:
    text = "依《民法典》第1079条、第1080条办理"
    assert [text[c.start : c.end] for c in find(text, STATUTES)] == ["第1079条", "第1080条"]


def test_check_tells_valid_repealed_and_unknown() -> None:
    text = "《民法典》第1079条；《婚姻法》第32条；《环境保护法》第1条；《民法典》第9999条；《星际法》第一条"
    checked = check(text, STATUTES)
    assert [c.status for c in checked] == ["valid", "repealed", "repealed", "unknown", "unknown"]
    assert checked[0].article is not None
    assert checked[0].article.name == "《中华人民共和国民法典》第一千零七十九条"


def test_keys_are_a_set() -> None:
    assert keys("民法典1079条，《民法典》第一千零七十九条", STATUTES) == {(CIVIL, "1079")}


def test_labelled_sentences() -> None:
    """citations.tsv: sentences written for this project in the usual spellings, each with its (law, article) pairs.

    A label after "=" is a law by its written name; the others lack 中华人民共和国.
    """
    statutes = Statutes.packaged()
    right = wanted = found = sentences = 0
    for line in (Path(__file__).parent / "citations.tsv").read_text(encoding="utf-8").splitlines():
        sentence, _, labels = line.partition("\t")
        pairs = [label.strip().rsplit(" ", 1) for label in labels.split(";") if label.strip()]
        want = Counter((law[1:] if law.startswith("=") else PREFIX + law, number) for law, number in pairs)
        got = Counter(citation.key for citation in find(sentence.replace("\\n", "\n"), statutes))
        sentences += 1
        right += (want & got).total()
        wanted += want.total()
        found += got.total()
    assert sentences >= 200
    assert 2 * right / (wanted + found) >= 0.97
