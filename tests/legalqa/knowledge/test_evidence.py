from pathlib import Path

import numpy as np
import pytest

from legalqa.knowledge.embedding import Embedder
from legalqa.knowledge.evidence import Evidence
from legalqa.knowledge.passages import of_conversations
from legalqa.knowledge.retrieval import Knowledge
from legalqa.records import Conversation, Message
from tests.legalqa.knowledge.test_retrieval import PAST, STATUTES

ARTICLES = STATUTES.in_force()
ANSWERS = of_conversations(PAST, STATUTES)
NUMBERS = [article.number for article in ARTICLES]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("LEGALQA_CACHE", str(tmp_path_factory.mktemp("cache")))
    return Embedder()


def test_past_answer_leads_to_the_article_it_cites() -> None:
    article = Evidence.build(ARTICLES, ANSWERS, None).features("公司拖欠工资").article
    through = dict(zip(NUMBERS, article[2], strict=True))
    assert through["38"] > 0
    assert through["1079"] == 0


def test_past_answer_speaks_for_the_law_it_cites_too() -> None:
    article = Evidence.build(ARTICLES, ANSWERS, None).features("公司拖欠工资怎么办，子女抚养").article
    laws = dict(zip(NUMBERS, article[6], strict=True))
    assert laws["38"] > 0.1
    assert laws["1084"] == 0


def test_what_is_asked_about_every_day_counts_only_where_something_else_speaks() -> None:
    article = Evidence.build(ARTICLES, [], None).features("盗窃财物").article
    assert dict(zip(NUMBERS, article[7], strict=True)) == {"1079": 0, "1084": 0, "680": 0, "38": 0, "264": 1}


def test_one_past_answer_can_be_left_out() -> None:
    evidence = Evidence.build(ARTICLES, ANSWERS, None)
    found = evidence.features("公司拖欠工资", but=0)
    assert not found.article[2].any()
    assert found.answer[0][0] == 0


def test_everyday_words_find_the_words_of_the_law() -> None:
    article = Evidence.build(ARTICLES, [], None).features("老板欠薪不给").article
    assert NUMBERS[int(article[1].argmax())] == "38"


def test_meaning_finds_what_shares_no_word(embedder: Embedder) -> None:
    evidence = Evidence.build(ARTICLES, ANSWERS, embedder)
    article = evidence.features("顺手牵羊会坐牢吗").article
    assert NUMBERS[int(article[4].argmax())] == "264"


def test_by_words_it_finds_what_a_collection_without_meaning_finds(embedder: Embedder) -> None:
    whole = Knowledge.build(STATUTES, PAST, 0.05, embedder=embedder)
    question = "公司拖欠工资怎么办"
    found = whole.search(question)
    assert whole.by_words().search(question) == Knowledge.build(STATUTES, PAST, 0.05).search(question) != found
    assert whole.search(question) == found


def test_round_trip_with_meaning(embedder: Embedder, tmp_path: Path) -> None:
    for name in "ab":
        Knowledge.build(STATUTES, PAST, 0.05, embedder=embedder).save(tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert Path("articles.npy") in files
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    question = "公司拖欠工资怎么办"
    built = Evidence.build(ARTICLES, ANSWERS, embedder).scores(question)
    loaded = Evidence.load(tmp_path / "a", ARTICLES, ANSWERS, embedder).scores(question)
    assert np.array_equal(built.articles, loaded.articles)
    assert np.array_equal(built.answers, loaded.answers)
    assert built.law == loaded.law > 0.5
    assert Knowledge.load(tmp_path / "a").search(question, kind="answer")[0].passage.id == "answer-1"


def test_a_model_that_is_open_already_is_not_opened_again(
    embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = Knowledge.build(STATUTES, PAST, 0.05, embedder=embedder)
    built.save(tmp_path / "k")
    monkeypatch.setattr("legalqa.knowledge.embedding.Embedder.__init__", lambda _: pytest.fail("opened again"))
    assert Knowledge.load(tmp_path / "k", embedder).search("顺手牵羊会坐牢吗") == built.search("顺手牵羊会坐牢吗")


def test_a_long_question_needs_a_smaller_share_of_words_but_a_repeated_one_does_not_become_long() -> None:
    evidence = Evidence.build(ARTICLES, [], None)
    short, long = "欠工资怎么样？", "今年三月进的厂，一直上夜班，家里老人生病要用钱，欠工资怎么样？"
    share, long_share = (evidence.features(question).article[:2].sum(axis=0).max() for question in (short, long))
    speaks, long_speaks = (evidence.features(question).law[2, 0] for question in (short, long))
    assert share / 5 < long_share < share / 4 and long_speaks > speaks / 2.5
    assert evidence.scores("\n".join([short] * 20)).law == pytest.approx(evidence.scores(short).law, abs=1e-6)


def test_whether_it_is_law_does_not_depend_on_how_many_answers_there_are(embedder: Embedder) -> None:
    for meaning in (embedder, None):
        none, many = (Evidence.build(ARTICLES, answers, meaning) for answers in ([], ANSWERS * 30))
        for question in ("公司拖欠工资怎么办，子女抚养", "租的房子朝北，冬天特别冷，有什么取暖的办法？"):
            assert np.array_equal(none.features(question).law, many.features(question).law)


def test_what_was_answered_before_is_found_whatever_it_is_about() -> None:
    question = "猫半夜总是叫，要不要换猫粮？"
    turns = [Message(role="user", content=question), Message(role="assistant", content="先带它去宠物医院检查。")]
    past = [Conversation(conversations=turns)]
    assert not Knowledge.build(STATUTES, [], threshold=0.5).search(question)
    knowledge = Knowledge.build(STATUTES, past, threshold=0.5)
    for asked in (question, " 猫半夜总是叫,要不要换猫粮"):
        assert [(hit.passage.title, hit.score) for hit in knowledge.search(asked)] == [(question, 1.0)]
    for part in ("猫", "猫粮", "怎么办", "？"):
        assert not knowledge.search(part)
