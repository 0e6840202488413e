"""Is the engine far slower than it usually is? Told by its own steps, within seconds, whatever the deadlines allow."""

import time
from collections.abc import Callable

SLOW = 5.0  # steps that take so many times their usual seconds
FOR_S = 0.5  # so long the engine says nothing else


class Pace:
    """Takes the engine's ``slowdown`` (`legalqa.engine.speed`) each time the engine is asked; 0: nothing measured yet.

    The same figure again means that no step has ended since, nor is the present one late. What an idle engine says is its last
    word before it became idle: one late step must not count again and again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard = 0.0
        self._since: float | None = None
        self._for_s = 0.0

    @property
    def slow(self) -> bool:
        """Whether the last steps took far longer than usual."""
        return self._for_s >= FOR_S

    def heard(self, slowdown: float, *, busy: bool) -> None:
        """Count a slow step, or forget those before."""
        news, self._heard = slowdown != self._heard, slowdown
        if slowdown < SLOW:
            self._since, self._for_s = None, 0.0
        elif busy and news:
            now = self._clock()
            self._since = now if self._since is None else self._since
            self._for_s = now - self._since
        elif not busy and not self.slow:
            self._since = None
