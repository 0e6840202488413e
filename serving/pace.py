"""Is the engine far slower than it usually is? Told by its own steps, within seconds, whatever the deadlines allow."""

import time
from collections.abc import Callable

SLOW = 5.0  # a step that takes so many times its usual seconds
NOT_SLOW_S = 0.1  # a step this short is never slow
FOR_S = 0.5  # so long the engine says nothing else
LEARNT = 3.0  # what takes more times the usual is on its way to slow, and not learnt from
USUAL_MEMORY = 0.95  # of the usual step's moving average


class Pace:
    """Takes the seconds of a step, and how many answers ran, each time the engine is asked; 0 seconds: nothing measured yet.

    A full batch's step takes several times that of one answer, so what is usual is learnt for 1, 2, up to 4, 8, ... answers
    apart. What an idle engine says is its last word before it became idle: one late step must not count again and again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._usual_s: dict[int, float] = {}  # by size, where size n stands for up to 2^n answers
        self._size = 0
        self._since: float | None = None
        self._for_s = 0.0

    @property
    def slow(self) -> bool:
        """Whether the last steps took far longer than usual."""
        return self._for_s >= FOR_S

    def heard(self, step_s: float, running: int) -> None:
        """Count a slow step, or forget those before and learn from this one."""
        if running:
            self._size = (running - 1).bit_length()
        usual_s = self._usual_s.get(self._size) or self._at_most_s(step_s)
        if step_s <= max(SLOW * usual_s, NOT_SLOW_S):
            self._since, self._for_s = None, 0.0
            if running and 0 < step_s < max(LEARNT * usual_s, NOT_SLOW_S):
                self._usual_s[self._size] = USUAL_MEMORY * usual_s + (1 - USUAL_MEMORY) * step_s
        elif running:
            now = self._clock()
            self._since = now if self._since is None else self._since
            self._for_s = now - self._since
        elif not self.slow:
            self._since = None

    def _at_most_s(self, step_s: float) -> float:
        """The usual step of a size not seen yet: as it is now, but a step for all takes no longer than one for each part."""
        if not self._usual_s:
            return step_s
        nearest = min(self._usual_s, key=lambda size: abs(size - self._size))
        return min(step_s, self._usual_s[nearest] * 2.0 ** max(0, self._size - nearest))
