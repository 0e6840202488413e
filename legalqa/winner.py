"""The rule that says which bundle wins: limits that must not break, and a paired gain whose interval is clear."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from legalqa.params import Limit, WinnerParams
from legalqa.problems import Problem

Scores = Mapping[str, float | None]  # "arm.score" -> value; None: could not be measured
ItemScores = Mapping[str, float]  # test question -> score


@dataclass(frozen=True)
class Gain:
    """Mean paired difference to a rival over the questions both answered, with its bootstrap interval."""

    rival: str
    ours: float
    theirs: float
    mean: float
    low: float
    high: float
    questions: int

    def __str__(self) -> str:
        return (
            f"{self.ours:8.2f} against {self.theirs:6.2f} of {self.rival:24} {self.mean:+7.2f} "
            f"[{self.low:+.2f}, {self.high:+.2f}]  {self.questions} questions"
        )


@dataclass(frozen=True)
class Verdict:
    """Whether the bundle becomes champion, and the sentence that says why."""

    wins: bool
    why: str


def gain(ours: ItemScores, theirs: ItemScores, rival: str, rule: WinnerParams) -> Gain | None:
    """Paired percentile bootstrap of the mean difference; None when no question is common to both.

    The same questions and rule give the same interval.
    """
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return None
    mine = np.array([ours[key] for key in common])
    other = np.array([theirs[key] for key in common])
    difference = mine - other
    drawn = np.random.default_rng(0).integers(len(common), size=(rule.resamples, len(common)))
    tail = 50 * (1 - rule.confidence)
    low, high = np.percentile(difference[drawn].mean(axis=1), [tail, 100 - tail])
    return Gain(rival, float(mine.mean()), float(other.mean()), float(difference.mean()), float(low), float(high), len(common))


def broken_limits(scores: Scores, rule: WinnerParams) -> list[Problem]:
    """Every limit of the rule that the served arm breaks. A limit on a score that nobody measures is broken, too."""
    problems = []
    for limit in rule.limits:
        key, reference = f"{rule.arm}.{limit.score}", f"base.{limit.score}"
        if key not in scores:
            known = sorted(name.removeprefix(f"{rule.arm}.") for name in scores if name.startswith(f"{rule.arm}."))
            problems.append(Problem(f"winner.limits {limit.score}", "no such score", f"one of {', '.join(known)}"))
            continue
        problems += _broken(key, scores[key], scores.get(reference), limit)
    return problems


def _broken(key: str, value: float | None, base: float | None, limit: Limit) -> list[Problem]:
    if value is None:
        return []
    bounds = [("at least", limit.min), ("at most", limit.max)]
    if base is not None:
        bounds.append(("at least", None if limit.max_drop is None else base - limit.max_drop))
        bounds.append(("at most", None if limit.max_rise is None else base + limit.max_rise))
    return [
        Problem(key, f"{value:g}", f"{side} {bound:g}", "another training, or another limit in params.yaml (winner.limits)")
        for side, bound in bounds
        if bound is not None and (value < bound if side == "at least" else value > bound)
    ]


def decide(over_base: Gain, over_champion: Gain | None, *, cheaper: bool, rule: WinnerParams) -> Verdict:
    """Apply the rule.

    Without a champion: not clearly worse than base. With one: clearly better than base and than the champion by
    ``min_gain``; where the interval against the champion holds 0, the cheaper one wins.
    """
    if over_champion is None:
        if over_base.high < 0:
            return Verdict(False, f"clearly worse than its base: {over_base.mean:+.2f} {rule.primary}")
        return Verdict(True, f"the first champion, not clearly worse than its base: {over_base.mean:+.2f} {rule.primary}")
    if over_base.low <= rule.min_gain:
        return Verdict(False, f"its gain over base is not clear of {rule.min_gain:g}: {over_base.mean:+.2f} {rule.primary}")
    if over_champion.low > rule.min_gain:
        return Verdict(True, f"clearly better than the champion: {over_champion.mean:+.2f} {rule.primary}")
    if over_champion.low <= 0 <= over_champion.high and cheaper:
        return Verdict(True, f"no difference to the champion ({over_champion.mean:+.2f} {rule.primary}), but cheaper")
    return Verdict(False, f"not clearly better than the champion: {over_champion.mean:+.2f} {rule.primary}")
