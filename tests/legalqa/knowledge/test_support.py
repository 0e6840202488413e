import pytest

from legalqa.knowledge.citations import find
from legalqa.knowledge.support import matches, sentence
from tests.legalqa.knowledge.laws import CIVIL, article, small_statutes

TEXT = "离婚后，不满两周岁的子女，以由母亲直接抚养为原则。已满两周岁的子女，父母双方对抚养问题协议不成的，由人民法院判决。"
ARTICLE = article(CIVIL, "1084", TEXT)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("根据《民法典》第1084条，不满两周岁的子女以由母亲直接抚养为原则。", True),
        ("民法典第一千零八十四条规定，两岁以下的孩子原则上由母亲直接抚养。", True),
        ("根据《民法典》第1084条，经营者应当退货并赔偿三倍价款。", False),
        ("根据《民法典》第1084条办理。", False),
        ("", False),
    ],
)
def test_matches(said: str, wanted: bool) -> None:
    assert matches(said, ARTICLE) is wanted


def test_sentence_around_a_citation() -> None:
    text = "先说结论。依《民法典》第1079条，可以离婚；另见《民法典》第1080条：\n完成离婚登记的，解除婚姻关系。再见"
    first, second = find(text, small_statutes())
    assert sentence(text, first) == "依《民法典》第1079条，可以离婚；"
    assert sentence(text, second) == "另见《民法典》第1080条：\n完成离婚登记的，解除婚姻关系。"
