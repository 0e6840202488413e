from legalqa.evaluation.compare import Counted
from legalqa.evaluation.scores import Parts
from legalqa.evaluation.slices import slices
from legalqa.knowledge.statutes import Statutes
from legalqa.params import EvaluateParams
from tests.legalqa.evaluation.conftest import REFERENCE, item


def test_questions_are_cut_by_area_length_and_citation(statutes: Statutes) -> None:
    questions = [item(f"问{'长' * n}", REFERENCE if n % 2 else "协商。", area="婚姻" if n < 5 else "") for n in range(10)]
    of: list[Parts] = [
        {"rouge_l_char": Counted(n / 10), "citation_f1": Counted(0, 0), "repetition": Counted(0)} for n in range(10)
    ]
    found = slices(questions, {"base": of}, statutes, EvaluateParams(arms=["base"], resamples=100))
    values = {row.part: row.estimate.value for row in found if row.score == "rouge_l_char"}
    assert values == {
        "area: 婚姻": 20.0,
        "question: long": 70.0,
        "question: short": 20.0,
        "reference: cites": 50.0,
        "reference: does not cite": 40.0,
        "reference: long": 50.0,
        "reference: short": 40.0,
    }
    assert not any(row.score == "citation_f1" for row in found)


def test_small_slices_say_nothing(statutes: Statutes) -> None:
    of: list[Parts] = [{"rouge_l_char": Counted(0), "citation_f1": Counted(0, 0), "repetition": Counted(0)}] * 4
    assert (
        slices([item(f"问{n}") for n in range(4)], {"base": of}, statutes, EvaluateParams(arms=["base"], resamples=100)) == []
    )
