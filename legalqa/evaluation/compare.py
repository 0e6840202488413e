"""What a difference between two arms is worth: percentile intervals by paired bootstrap over the test questions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Counted(NamedTuple):
    """One question's part in a score, which is the sum of totals over the sum of weights: means and ratios alike.

    Weight 0 means that the question says nothing (no citation to check).
    """

    total: float
    weight: float = 1.0


@dataclass(frozen=True)
class Estimate:
    """A score or a difference with its interval; ``questions`` is how many questions say something about it."""

    value: float
    low: float
    high: float
    questions: int

    @property
    def clear(self) -> bool:
        """For a difference: the interval does not hold 0."""
        return self.low > 0 or self.high < 0


class Bootstrap:
    """The same resamples of the questions for every arm and score, so that differences are paired."""

    def __init__(self, questions: int, resamples: int, confidence: float, seed: int) -> None:
        drawn = np.random.default_rng(seed).integers(questions, size=(resamples, questions))
        self._times = np.stack([np.bincount(row, minlength=questions) for row in drawn]).astype(np.float64)
        self._tails = [50 * (1 - confidence), 50 * (1 + confidence)]

    def score(self, parts: Sequence[Counted], scale: Callable[[Vector], Vector] = lambda ratio: ratio) -> Estimate | None:
        """The score over all questions; None when no question says anything."""
        return self._estimate(parts, parts[:0], scale)

    def difference(
        self, ours: Sequence[Counted], theirs: Sequence[Counted], scale: Callable[[Vector], Vector] = lambda ratio: ratio
    ) -> Estimate | None:
        """Ours minus theirs; None when one of them has no score."""
        return self._estimate(ours, theirs, scale)

    def _estimate(
        self, ours: Sequence[Counted], theirs: Sequence[Counted], scale: Callable[[Vector], Vector]
    ) -> Estimate | None:
        sides = [np.array(side, dtype=np.float64).T for side in (ours, theirs) if side]
        if any(weights.sum() == 0 for _, weights in sides):
            return None
        once = np.ones((1, len(ours)))
        values = [self._ratios(once, side, scale)[0] for side in sides]
        resampled = [self._ratios(self._times, side, scale) for side in sides]
        value, spread = (values[0], resampled[0]) if len(sides) == 1 else (values[0] - values[1], resampled[0] - resampled[1])
        low, high = np.nanpercentile(spread, self._tails)
        questions = int(np.count_nonzero(np.minimum.reduce([weights for _, weights in sides])))
        return Estimate(float(value), float(low), float(high), questions)

    @staticmethod
    def _ratios(times: Vector, side: Vector, scale: Callable[[Vector], Vector]) -> Vector:
        totals, weights = times @ side[0], times @ side[1]
        ratios = np.divide(totals, weights, out=np.full_like(totals, np.nan), where=weights > 0)
        return scale(ratios)
