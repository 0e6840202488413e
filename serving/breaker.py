"""Circuit breaker: calls that would fail are not made, and a few probes find out when they would succeed again.

States and rules follow the pattern as resilience4j implements it: a failure rate and a slow-call rate over a time window, an
open time that doubles up to a bound, a bounded number of probes in half-open, and two states set by hand.
"""

import random
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from legalqa.params import BreakerParams

State = Literal["closed", "open", "half_open", "forced_open", "disabled"]


class Permit:
    """Leave to make one call. Exactly one of its methods is called when the call has ended; later ones do nothing."""

    def __init__(self, breaker: "Breaker", epoch: int) -> None:
        self._breaker: Breaker | None = breaker
        self._epoch = epoch

    def succeeded(self, slow: bool = False) -> None:
        """The callee did its work, late when ``slow``."""
        self._report(failed=False, slow=slow)

    def failed(self) -> None:
        """The callee raised, was lost, or ran out of time."""
        self._report(failed=True, slow=False)

    def withdrawn(self) -> None:
        """The call says nothing about the callee: the client left or asked for something impossible."""
        breaker, self._breaker = self._breaker, None
        if breaker:
            breaker._withdraw(self._epoch)

    def _report(self, failed: bool, slow: bool) -> None:
        breaker, self._breaker = self._breaker, None
        if breaker:
            breaker._record(self._epoch, failed, slow)


class Breaker:
    """One callee's breaker. ``acquire`` before a call; None means: don't."""

    def __init__(
        self,
        params: BreakerParams,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        on_change: Callable[[State], None] = lambda state: None,
    ) -> None:
        self._params = params
        self._clock = clock
        self._jitter = jitter
        self._on_change = on_change
        self._calls: deque[tuple[float, bool, bool]] = deque()
        self._state: State = "closed"
        self._epoch = 0  # outcomes of calls begun under an earlier state, or before a recovery, don't count
        self._open_until = 0.0
        self._openings = 0
        self._probes_out = 0
        self._probes_good = 0

    @property
    def state(self) -> State:
        """The state now; an open time that has run out shows as half-open."""
        if self._state == "open" and self._clock() >= self._open_until:
            self._change("half_open")
        return self._state

    def acquire(self) -> Permit | None:
        """A permit for one call, or None when the callee must be left alone."""
        state = self.state
        if state in ("open", "forced_open"):
            return None
        if state == "half_open":
            if self._probes_out + self._probes_good >= self._params.probes:
                return None
            self._probes_out += 1
        return Permit(self, self._epoch)

    def recovered(self, anew: bool) -> None:
        """The callee is known to be back (its health says so): probe now instead of when the open time ends.

        Where it came back ``anew``, started again or after it was silent, what was begun before counts no more: else the
        failures of then would open the breaker for the callee of now.
        """
        if self._state == "open" or (self._state == "half_open" and anew):
            self._change("half_open")
        elif self._state == "closed" and anew:
            self._forget()

    def force(self, state: Literal["closed", "forced_open", "disabled"]) -> None:
        """Set by hand; "closed" gives control back to the window."""
        self._openings = 0
        self._change(state)

    def _record(self, epoch: int, failed: bool, slow: bool) -> None:
        if epoch != self._epoch or self._state == "disabled":
            return
        if self._state == "half_open":
            self._probes_out -= 1
            if failed or slow:
                self._open()
                return
            self._probes_good += 1
            if self._probes_good >= self._params.probes:
                self._openings = 0
                self._change("closed")
            return
        now = self._clock()
        self._calls.append((now, failed, slow))
        while self._calls and self._calls[0][0] <= now - self._params.window_s:
            self._calls.popleft()
        if not (failed or slow):
            return  # good news never opens it, also where it is the one call that was missing to judge at all
        number = len(self._calls)
        failures = sum(call[1] for call in self._calls)
        slows = sum(call[2] for call in self._calls)
        if number >= self._params.min_calls and (
            failures >= self._params.failure_rate * number or slows >= self._params.slow_rate * number
        ):
            self._open()

    def _withdraw(self, epoch: int) -> None:
        if epoch == self._epoch and self._state == "half_open":
            self._probes_out -= 1

    def _open(self) -> None:
        seconds = min(self._params.open_s * 2**self._openings, self._params.max_open_s)
        self._open_until = self._clock() + seconds * (1 + 0.1 * self._jitter())
        self._openings += 1
        self._change("open")

    def _change(self, state: State) -> None:
        self._forget()
        self._probes_out = self._probes_good = 0
        self._state = state
        self._on_change(state)

    def _forget(self) -> None:
        self._epoch += 1
        self._calls.clear()
