from collections import Counter

import pytest

from legalqa.evaluation import probe
from legalqa.evaluation.compare import Counted
from tests.legalqa.evaluation.conftest import answer


def test_questions_of_three_kinds_each_once() -> None:
    items = probe.items()
    assert set(Counter(item.area for item in items)) == {"arithmetic", "reading", "everyday"}
    assert len({item.key for item in items}) == len(items) == 30


@pytest.mark.parametrize(
    ("text", "right"), [("答案是45。", True), ("145", False), ("4.5", False), ("17+28=45", True), ("", False)]
)
def test_a_number_is_right_only_whole(text: str, right: bool) -> None:
    assert probe.score(answer(text, references=("45",)))["probe_accuracy"] == Counted(right)


def test_any_of_the_answers_is_right_and_the_loss_is_kept() -> None:
    parts = probe.score(answer("是礼拜一吧", references=("周一", "礼拜一"), answer_loss=4.0, answer_tokens=2))
    assert parts == {"probe_accuracy": Counted(True), "probe_loss": Counted(4.0, 2)}
