import pytest

from legalqa.evaluation.compare import Counted
from legalqa.evaluation.scores import SCORES, Scorer
from legalqa.evaluation.similarity import Similarity
from legalqa.knowledge.statutes import Statutes
from tests.legalqa.evaluation.conftest import REFERENCE, answer


@pytest.fixture
def scorer(statutes: Statutes, similarity: Similarity) -> Scorer:
    return Scorer(statutes, ["您好，建议咨询律师。", "您好，建议协商解决。"], similarity)


def test_the_reference_itself_scores_full(scorer: Scorer) -> None:
    parts = scorer.score(answer(REFERENCE))
    for name in (
        "rouge_1_char",
        "rouge_2_word",
        "rouge_l_char",
        "bleu_zh",
        "chrf",
        "similarity_e5_small",
        "citation_f1",
        "citation_supported",
    ):
        assert parts[name].total / parts[name].weight == pytest.approx(1), name


def test_every_score_has_a_meaning_and_only_those(scorer: Scorer) -> None:
    parts = scorer.score(answer(REFERENCE, answer_loss=3.0, answer_tokens=2))
    assert set(parts) == {name for name in SCORES if name != "seconds" and not name.startswith("probe")}


def test_an_empty_answer_scores_zero_and_is_counted(scorer: Scorer) -> None:
    full, parts = scorer.score(answer(REFERENCE)), scorer.score(answer("  "))
    assert parts["empty"] == Counted(1.0)
    assert set(parts) == set(full)
    for name in ("rouge_1_char", "rouge_2_word", "rouge_l_char", "bleu_zh", "chrf", "similarity_e5_small"):
        assert parts[name] == Counted(0.0)
    assert parts["citation_recall"] == Counted(0, 1)
    assert parts["citation_precision"].weight == parts["citation_valid"].weight == 0


def test_citations_are_compared_as_pairs_and_checked_against_the_law(scorer: Scorer) -> None:
    text = "依民法典1079条可以离婚，婚姻法第三十二条也这样说，另见《民法典》第九千条、民法典第1079条。"
    parts = scorer.score(answer(text))
    assert parts["citation_f1"] == Counted(2, 3 + 1)
    assert parts["citation_precision"] == Counted(1, 3)
    assert parts["citation_recall"] == Counted(1, 1)
    assert parts["citation_valid"] == Counted(1, 3)
    assert parts["citation_repealed"] == Counted(1, 3)
    assert parts["citation_unknown"] == Counted(1, 3)


def test_a_citation_in_vain_counts_against_f1(scorer: Scorer) -> None:
    parts = scorer.score(answer("民法典第1087条", references=("协商即可。",)))
    assert parts["citation_f1"] == Counted(0, 1)


def test_the_best_of_several_references_counts(scorer: Scorer) -> None:
    parts = scorer.score(answer("协商即可。", references=(REFERENCE, "协商即可。")))
    assert parts["rouge_l_char"] == Counted(1.0)


def test_habits(scorer: Scorer) -> None:
    parts = scorer.score(answer("建议咨询律师。" * 20, finish_reason="length"))
    assert parts["repetition"].total > 0.9
    assert parts["truncated"] == parts["lawyer"] == Counted(1.0)
    assert parts["refusal"] == Counted(0.0)
    assert scorer.score(answer("很抱歉，我无法提供法律意见。"))["refusal"] == Counted(1.0)
    assert scorer.score(answer("对方不能提供证据的，由其承担后果。"))["refusal"] == Counted(0.0)
    chinese = scorer.score(answer("合同 ABC"))["chinese"]
    assert chinese.total / chinese.weight == pytest.approx(0.4)


def test_boilerplate_is_what_training_answers_share(scorer: Scorer) -> None:
    parts = scorer.score(answer("您好，建议起诉。"))
    assert parts["boilerplate"] == Counted(2, 5)  # 您好，建 and 好，建议 stand in both training answers
