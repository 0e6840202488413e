"""The rule, at its edges."""

import pytest

from legalqa.evaluation.compare import Estimate
from legalqa.params import EvaluateParams, Limit, WinnerParams
from legalqa.winner import Gain, broken_limits, decide, gain

EVALUATE = EvaluateParams(arms=["base", "tuned"])
RULE = WinnerParams(primary="rouge")


def scored(*values: float) -> dict[str, float]:
    return {f"question {number}": value for number, value in enumerate(values)}


def made(low: float, high: float) -> Gain:
    return Gain("rival", 0, 0, Estimate((low + high) / 2, low, high, 10))


def test_a_constant_gain_has_an_interval_of_no_width() -> None:
    found = gain(scored(3, 5, 10), scored(1, 3, 8), "base", EVALUATE)
    assert found
    assert (found.ours, found.theirs, found.difference.questions) == (6, 4, 3)
    assert (found.difference.low, found.difference.value, found.difference.high) == pytest.approx((2, 2, 2))


def test_interval_is_near_the_normal_one_and_repeats() -> None:
    ours, theirs = scored(*[1.0, 3.0] * 50), scored(*[0.0] * 100)
    found = gain(ours, theirs, "base", EVALUATE)
    assert found
    assert (found.difference.low, found.difference.high) == pytest.approx((2 - 0.196, 2 + 0.196), abs=0.02)
    assert found == gain(ours, theirs, "base", EVALUATE)


def test_only_common_questions_count() -> None:
    found = gain(scored(1, 2), {"question 1": 1.0, "another": 9.0}, "champion", EVALUATE)
    assert found
    assert (found.difference.questions, found.difference.value) == (1, 1)
    assert gain(scored(1), {"another": 1.0}, "champion", EVALUATE) is None


def test_a_few_common_questions_are_no_comparison() -> None:
    theirs = {"question 1": 1.0, "another": 9.0}
    assert gain(scored(1, 2), theirs, "champion", EVALUATE)
    assert gain(scored(1, 2, 3), theirs, "champion", EVALUATE) is None


@pytest.mark.parametrize(
    ("limit", "broken"),
    [
        (Limit(score="valid", min=0.5), False),
        (Limit(score="valid", min=0.7), True),
        (Limit(score="valid", max=0.5), True),
        (Limit(score="valid", max_drop=0.3), False),
        (Limit(score="valid", max_drop=0.1), True),
        (Limit(score="loss", max_rise=0.1), True),
        (Limit(score="loss", max_rise=0.6), False),
        (Limit(score="unmeasured", min=0.5), False),
        (Limit(score="vaild", min=0.5), True),
    ],
)
def test_limits(limit: Limit, broken: bool) -> None:
    scores = {"tuned.valid": 0.6, "base.valid": 0.8, "tuned.loss": 2.5, "base.loss": 2.0}
    problems = broken_limits(scores, ("valid", "loss", "unmeasured"), RULE.model_copy(update={"limits": [limit]}))
    assert bool(problems) == broken
    assert all(limit.score in str(problem) for problem in problems)


@pytest.mark.parametrize(
    ("over_base", "over_champion", "has_champion", "cheaper", "wins"),
    [
        (made(-1, 2), None, False, False, True),  # the first champion need not be clearly better
        (made(-2, -1), None, False, False, False),
        (made(1, 2), None, True, False, True),  # other test questions than the champion's
        (made(-1, 2), None, True, False, False),
        (made(-1, 2), None, True, True, False),
        (made(1, 2), made(1, 2), True, False, True),
        (made(-1, 2), made(1, 2), True, False, False),
        (made(1, 2), made(-1, 1), True, False, False),
        (made(1, 2), made(-1, 1), True, True, True),
        (made(1, 2), made(-2, -1), True, True, False),
    ],
)
def test_decision(over_base: Gain, over_champion: Gain | None, has_champion: bool, cheaper: bool, wins: bool) -> None:
    assert decide(over_base, over_champion, has_champion=has_champion, cheaper=cheaper, rule=RULE).wins == wins


def test_a_gain_must_be_clear_of_the_least_one() -> None:
    rule = RULE.model_copy(update={"min_gain": 1.5})
    decided = decide(made(1, 2), made(1, 2), has_champion=True, cheaper=False, rule=rule)
    assert not decided.wins
    assert "not clear of 1.5" in decided.why
