"""The rule that says which bundle wins: limits that must not break, and a paired gain whose interval is clear."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import fmean

from legalqa.evaluation.compare import Bootstrap, Counted, Estimate
from legalqa.params import EvaluateParams, Limit, WinnerParams
from legalqa.problems import Problem

Scores = Mapping[str, float]  # "arm.score" -> value
ItemScores = Mapping[str, float]  # test question -> score

LEAST_COMMON = 0.5  # share of our test questions that a rival must have answered, too, for a comparison


@dataclass(frozen=True)
class Gain:
    """How much better than a rival, over the questions both answered."""

    rival: str
    ours: float
    theirs: float
    difference: Estimate

    def __str__(self) -> str:
        paired = self.difference
        return (
            f"{self.ours:8.2f} against {self.theirs:6.2f} of {self.rival:24} {paired.value:+7.2f} "
            f"[{paired.low:+.2f}, {paired.high:+.2f}]  {paired.questions} questions"
        )


@dataclass(frozen=True)
class Verdict:
    """Whether the bundle becomes champion, and the sentence that says why."""

    wins: bool
    why: str


def gain(ours: ItemScores, theirs: ItemScores, rival: str, params: EvaluateParams) -> Gain | None:
    """The paired difference with its bootstrap interval; None when the rival answered less than half of our questions."""
    common = sorted(ours.keys() & theirs.keys())
    if not common or len(common) < LEAST_COMMON * len(ours):
        return None
    mine, other = ([side[key] for key in common] for side in (ours, theirs))
    bootstrap = Bootstrap(len(common), params.resamples, params.confidence, params.seed)
    difference = bootstrap.difference([Counted(value) for value in mine], [Counted(value) for value in other])
    return Gain(rival, fmean(mine), fmean(other), difference) if difference else None


def broken_limits(scores: Scores, known: Collection[str], rule: WinnerParams) -> list[Problem]:
    """Every limit of the rule that the served arm breaks; one on a score that is not ``known`` is broken, too.

    A score that could not be measured (nothing was cited) breaks nothing.
    """
    problems = []
    for limit in rule.limits:
        key = f"{rule.arm}.{limit.score}"
        if limit.score not in known:
            problems.append(Problem("params.yaml winner.limits", f"no score {limit.score}", f"one of {', '.join(known)}"))
        elif key in scores:
            problems += _broken(key, scores[key], scores.get(f"base.{limit.score}"), limit)
    return problems


def _broken(key: str, value: float, base: float | None, limit: Limit) -> list[Problem]:
    bounds = [("at least", limit.min), ("at most", limit.max)]
    if base is not None:
        bounds.append(("at least", None if limit.max_drop is None else base - limit.max_drop))
        bounds.append(("at most", None if limit.max_rise is None else base + limit.max_rise))
    return [
        Problem(key, f"{value:g}", f"{side} {bound:g}", "another training, or another limit in params.yaml (winner.limits)")
        for side, bound in bounds
        if bound is not None and (value < bound if side == "at least" else value > bound)
    ]


def decide(over_base: Gain, over_champion: Gain | None, *, has_champion: bool, cheaper: bool, rule: WinnerParams) -> Verdict:
    """Apply the rule.

    Without a champion: not clearly worse than base. With one: clearly better than base and than the champion by
    ``min_gain``; where the interval against the champion holds 0, the cheaper one wins. A champion that was scored on other
    questions (``over_champion`` None) gives way to a model that is clearly better than its base: the data has moved on.
    """
    base = over_base.difference
    if not has_champion:
        won = base.high >= 0
        return Verdict(won, f"{'the first champion, not ' if won else ''}clearly worse than its base: {_points(base, rule)}")
    if base.low <= rule.min_gain:
        return Verdict(False, f"its gain over base is not clear of {rule.min_gain:g}: {_points(base, rule)}")
    if over_champion is None:
        return Verdict(True, f"other test questions than the champion's, and clearly better than base: {_points(base, rule)}")
    champion = over_champion.difference
    if champion.low > rule.min_gain:
        return Verdict(True, f"clearly better than the champion: {_points(champion, rule)}")
    if cheaper and not champion.clear:
        return Verdict(True, f"no difference to the champion ({_points(champion, rule)}), but cheaper")
    return Verdict(False, f"not clearly better than the champion: {_points(champion, rule)}")


def _points(difference: Estimate, rule: WinnerParams) -> str:
    return f"{difference.value:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}] {rule.primary}"
