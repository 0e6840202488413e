"""Is the engine far slower than it usually is? Told by its own steps, within seconds, whatever the deadlines allow."""

import time
from collections.abc import Callable

SLOW = 5.0  # a step that takes so many times its usual seconds
NOT_SLOW_S = 0.1  # a step this short is never slow
FOR_S = 0.5  # so long the engine says nothing else
LEARNT = 3.0  # what takes more times the usual is on its way to slow, and not learnt from
USUAL_MEMORY = 0.95  # of the usual step's moving average


class Pace:
    """Takes the seconds of a step each time the engine is asked, and with every piece of an answer, as a slow engine is slow to
    say how it is. 0 means that nothing was measured yet.

    What an idle engine says is its last word before it became idle: one late step must not count again and again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._usual_s = 0.0
        self._since: float | None = None
        self._for_s = 0.0

    @property
    def slow(self) -> bool:
        """Whether the last steps took far longer than usual."""
        return self._for_s >= FOR_S

    def saw(self, step_s: float, *, busy: bool = True) -> None:
        """Count a slow step, or forget those before."""
        if not self._is_slow(step_s):
            self._since, self._for_s = None, 0.0
        elif busy:
            now = self._clock()
            self._since = now if self._since is None else self._since
            self._for_s = now - self._since
        elif not self.slow:
            self._since = None

    def heard(self, step_s: float, *, busy: bool) -> None:
        """The same when the engine was asked, which happens at an even pace; learn from a step that is not slow."""
        self.saw(step_s, busy=busy)
        if not self._is_slow(step_s) and step_s and (not self._usual_s or step_s < max(LEARNT * self._usual_s, NOT_SLOW_S)):
            self._usual_s = USUAL_MEMORY * (self._usual_s or step_s) + (1 - USUAL_MEMORY) * step_s

    def _is_slow(self, step_s: float) -> bool:
        return bool(self._usual_s) and step_s > max(SLOW * self._usual_s, NOT_SLOW_S)
