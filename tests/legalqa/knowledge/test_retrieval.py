import json
from pathlib import Path

import pytest

from legalqa.knowledge.retrieval import Knowledge
from legalqa.knowledge.statutes import Statutes
from legalqa.problems import UserError
from legalqa.records import Conversation, Message
from tests.legalqa.knowledge.laws import CIVIL, CRIMINAL, LABOUR, OLD, article


def conversation(question: str, answer: str, record: int) -> Conversation:
    turns = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return Conversation(conversations=turns, records=[record])


STATUTES = Statutes(
    [
        article(CIVIL, "1079", "夫妻一方要求离婚的，可以向人民法院提起离婚诉讼；感情确已破裂，调解无效的，应当准予离婚。"),
        article(CIVIL, "1084", "离婚后，不满两周岁的子女，以由母亲直接抚养为原则。"),
        article(CIVIL, "680", "禁止高利放贷，借款的利率不得违反国家有关规定。"),
        article(LABOUR, "38", "用人单位未及时足额支付劳动报酬的，劳动者可以解除劳动合同。"),
        article(CRIMINAL, "264", "盗窃公私财物，数额较大的，处三年以下有期徒刑。", "amended"),
        article(OLD, "1", "为保护和改善环境，制定本法。", "repealed"),
    ]
)
PAST = [
    conversation("公司拖欠工资怎么办？", "可以依据《劳动合同法》第三十八条解除劳动合同，并申请劳动仲裁。", 7),
    conversation("结婚彩礼要不要退？", "依照《婚姻法》第三十二条处理。", 8),
]


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return Knowledge.build(STATUTES, PAST, threshold=0.05)


def test_finds_the_article(knowledge: Knowledge) -> None:
    hits = knowledge.search("离婚以后孩子由谁抚养，子女不满两周岁", kind="statute")
    assert (hits[0].passage.law, hits[0].passage.number) == (CIVIL, "1084")
    assert all(0 < hit.score <= 1 for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_article_named_in_the_question_comes_first(knowledge: Knowledge) -> None:
    hit = knowledge.search("民法典第680条怎么说离婚的")[0]
    assert (hit.passage.number, hit.score) == ("680", 1.0)


def test_repealed_law_is_not_found(knowledge: Knowledge) -> None:
    assert all(hit.passage.law != OLD for hit in knowledge.search("保护和改善环境"))


def test_near_question_quotes_the_past_answer_verbatim(knowledge: Knowledge) -> None:
    answer = knowledge.answer("公司拖欠工资怎么办")
    assert answer is not None
    assert answer.text == PAST[0].answer
    assert "7" in answer.source
    assert answer.hits[0].passage.cites == ((LABOUR, "38"),)


def test_past_answer_on_repealed_law_is_not_quoted(knowledge: Knowledge) -> None:
    answer = knowledge.answer("结婚彩礼要不要退？")
    assert answer is None or "婚姻法" not in answer.text
    assert knowledge.search("结婚彩礼要不要退", kind="answer")[0].passage.stale


def test_else_the_article_is_quoted_with_its_name(knowledge: Knowledge) -> None:
    answer = knowledge.answer("盗窃财物会判多少年有期徒刑")
    assert answer is not None
    assert answer.source == f"《{CRIMINAL}》第二百六十四条"
    assert answer.text == f"{answer.source}：盗窃公私财物，数额较大的，处三年以下有期徒刑。"


@pytest.mark.parametrize("question", ["", "？？？", "hello world", "今晚吃红烧肉还是番茄炒蛋"])
def test_outside_the_law_nothing_is_found(knowledge: Knowledge, question: str) -> None:
    assert knowledge.search(question) == []
    assert knowledge.answer(question) is None


def test_folder_is_self_contained_and_its_bytes_repeat(knowledge: Knowledge, tmp_path: Path) -> None:
    knowledge.save(tmp_path / "a")
    Knowledge.build(STATUTES, PAST, threshold=0.05).save(tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    loaded = Knowledge.load(tmp_path / "a")
    assert loaded.search("离婚诉讼") == knowledge.search("离婚诉讼")
    assert loaded.statutes.status(OLD) == "repealed"


def test_without_past_answers(tmp_path: Path) -> None:
    Knowledge.build(STATUTES, [], threshold=0.05).save(tmp_path / "k")
    knowledge = Knowledge.load(tmp_path / "k")
    assert knowledge.search("离婚", kind="answer") == []
    assert knowledge.search("离婚诉讼")


def test_words_cut_otherwise_are_refused(knowledge: Knowledge, tmp_path: Path) -> None:
    knowledge.save(tmp_path / "k")
    settings = tmp_path / "k" / "settings.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "words": "another"}))
    with pytest.raises(UserError, match="another version of rjieba"):
        Knowledge.load(tmp_path / "k")


def test_missing_file_is_named(knowledge: Knowledge, tmp_path: Path) -> None:
    knowledge.save(tmp_path / "k")
    (tmp_path / "k" / "statutes.jsonl").unlink()
    with pytest.raises(UserError, match=r"statutes\.jsonl: is missing"):
        Knowledge.load(tmp_path / "k")
