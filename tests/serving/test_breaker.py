"""The breaker: examples of each rule, and what holds for every course of events."""

import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from legalqa.params import BreakerParams
from serving.breaker import Breaker, Permit

PARAMS = BreakerParams(window_s=20, min_calls=4, failure_rate=0.5, slow_rate=0.8, open_s=5, max_open_s=12, probes=2)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make() -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(PARAMS, clock, jitter=lambda: 0.0), clock


def call(breaker: Breaker, outcome: str) -> None:
    permit = breaker.acquire()
    assert permit
    {"good": permit.succeeded, "bad": permit.failed, "slow": lambda: permit.succeeded(slow=True), "left": permit.withdrawn}[
        outcome
    ]()


def opened() -> tuple[Breaker, Clock]:
    breaker, clock = make()
    for _ in range(PARAMS.min_calls):
        call(breaker, "bad")
    assert breaker.state == "open"
    return breaker, clock


@pytest.mark.parametrize("outcomes", [("good", "good", "bad"), ("bad", "bad", "bad", "good", "good")])
def test_opens_at_the_failure_rate_and_not_before_enough_calls_nor_at_good_news(outcomes: tuple[str, ...]) -> None:
    breaker, _ = make()
    for outcome in outcomes:
        call(breaker, outcome)
        assert breaker.state == "closed"
    call(breaker, "bad")
    assert breaker.state == "open"
    assert breaker.acquire() is None


def test_what_a_callee_did_before_it_came_back_does_not_count() -> None:
    breaker, _ = make()
    late = [breaker.acquire() for _ in range(4)]
    for _ in range(3):
        call(breaker, "bad")
    breaker.recovered(anew=False)
    breaker.recovered(anew=True)
    for permit in late:
        assert permit
        permit.failed()
    for outcome in ("bad", "bad", "bad"):
        call(breaker, outcome)
    assert breaker.state == "closed"
    call(breaker, "bad")
    assert breaker.state == "open"


def test_opens_when_nearly_all_calls_are_slow() -> None:
    breaker, _ = make()
    for _ in range(4):
        call(breaker, "slow")
    assert breaker.state == "open"


def test_old_calls_and_calls_whose_client_left_do_not_count() -> None:
    breaker, clock = make()
    for _ in range(3):
        call(breaker, "bad")
    for _ in range(10):
        call(breaker, "left")
    clock.now += 20
    for _ in range(3):
        call(breaker, "bad")
    assert breaker.state == "closed"


def test_half_open_lets_through_as_many_as_probes_and_closes_when_they_succeed() -> None:
    breaker, clock = opened()
    clock.now += 5
    assert breaker.state == "half_open"
    first, second = breaker.acquire(), breaker.acquire()
    assert first and second and breaker.acquire() is None
    first.succeeded()
    assert breaker.state == "half_open" and breaker.acquire() is None
    second.succeeded()
    assert breaker.state == "closed"


def test_a_probe_that_is_withdrawn_gives_its_place_back() -> None:
    breaker, clock = opened()
    clock.now += 5
    first, second = breaker.acquire(), breaker.acquire()
    assert first and second
    first.withdrawn()
    assert breaker.acquire() is not None


def test_a_failed_or_slow_probe_opens_again_for_longer_up_to_the_bound() -> None:
    breaker, clock = opened()
    for seconds, outcome in ((5, "bad"), (10, "slow"), (12, "bad"), (12, "bad")):
        clock.now += seconds - 0.01
        assert breaker.state == "open"
        clock.now += 0.01
        call(breaker, outcome)
        assert breaker.state == "open"


def test_late_outcomes_of_an_earlier_state_do_not_count() -> None:
    breaker, clock = make()
    late = [breaker.acquire() for _ in range(6)]
    for permit in late[:4]:
        assert permit
        permit.failed()
    clock.now += 5
    assert breaker.state == "half_open"
    for permit in late[4:]:
        assert permit
        permit.succeeded()
    assert breaker.state == "half_open"


def test_known_recovery_probes_at_once_and_hand_set_states_hold() -> None:
    breaker, _ = opened()
    breaker.recovered(anew=False)
    assert breaker.state == "half_open"
    probe = breaker.acquire()
    breaker.recovered(anew=True)
    assert probe and breaker.state == "half_open"
    probe.failed()  # begun before the second return
    assert breaker.state == "half_open"
    breaker.force("forced_open")
    assert breaker.acquire() is None
    breaker.recovered(anew=True)
    assert breaker.state == "forced_open"
    breaker.force("disabled")
    for _ in range(10):
        call(breaker, "bad")
    assert breaker.state == "disabled"
    breaker.force("closed")
    assert breaker.state == "closed"


class AnyCourse(RuleBasedStateMachine):
    """Whatever happens in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(PARAMS, self.clock, jitter=lambda: 0.5)
        self.out: list[Permit] = []

    @rule()
    def acquire(self) -> None:
        state = self.breaker.state
        permit = self.breaker.acquire()
        assert permit is None or state in ("closed", "half_open", "disabled")
        assert permit is not None or state != "closed"
        if permit:
            self.out.append(permit)

    @rule(outcome=strategies.sampled_from(["good", "bad", "slow", "left", "twice"]), pick=strategies.integers(0, 50))
    def end(self, outcome: str, pick: int) -> None:
        if not self.out:
            return
        permit = self.out.pop(pick % len(self.out))
        if outcome in ("bad", "twice"):
            permit.failed()
        elif outcome == "left":
            permit.withdrawn()
        else:
            permit.succeeded(slow=outcome == "slow")
        if outcome == "twice":
            permit.succeeded()

    @rule(seconds=strategies.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(anew=strategies.booleans())
    def recovered(self, anew: bool) -> None:
        self.breaker.recovered(anew)

    @invariant()
    def probes_are_bounded(self) -> None:
        assert self.breaker._probes_out >= 0
        assert self.breaker._probes_out + self.breaker._probes_good <= PARAMS.probes

    @invariant()
    def never_open_for_longer_than_the_bound(self) -> None:
        assert self.breaker._open_until - self.clock.now <= PARAMS.max_open_s * 1.1


TestAnyCourse = AnyCourse.TestCase
TestAnyCourse.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
