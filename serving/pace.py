"""Is the engine far slower than it usually is? Told by its own steps, within seconds, whatever the deadlines allow."""

SLOW = 5.0  # a step that takes so many times its usual seconds
NOT_SLOW_S = 0.1  # a step this short is never slow
ASKS = 2  # so many times in a row that the engine says so
LEARNT = 3.0  # what takes more times the usual is on its way to slow, and not learnt from
USUAL_MEMORY = 0.95  # of the usual step's moving average


class Pace:
    """Takes the seconds of a step each time the engine is asked; 0 means that nothing was measured yet.

    What an idle engine says is its last word before it became idle: one late step must not count again and again.
    """

    def __init__(self) -> None:
        self._usual_s = 0.0
        self._slow_asks = 0

    @property
    def slow(self) -> bool:
        """Whether the last steps took far longer than usual."""
        return self._slow_asks >= ASKS

    def heard(self, step_s: float, *, busy: bool) -> None:
        """Count a slow step, or learn from one that is not."""
        if self._usual_s and step_s > max(SLOW * self._usual_s, NOT_SLOW_S):
            self._slow_asks += busy
            return
        self._slow_asks = 0
        if step_s and (not self._usual_s or step_s < max(LEARNT * self._usual_s, NOT_SLOW_S)):
            self._usual_s = USUAL_MEMORY * (self._usual_s or step_s) + (1 - USUAL_MEMORY) * step_s
