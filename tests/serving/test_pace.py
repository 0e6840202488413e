from itertools import count

import pytest

from serving.pace import FOR_S, Pace


def paced() -> Pace:
    """Each slow step is heard half a second after the one before."""
    ticks = count()
    return Pace(clock=lambda: next(ticks) * FOR_S)


def test_slow_is_five_times_the_usual_for_half_a_second() -> None:
    pace = paced()
    for slowdown in (0.0, 1.0, 4.9, 5.1):
        pace.heard(slowdown, busy=True)
        assert not pace.slow
    pace.heard(1.0, busy=True)
    pace.heard(6.0, busy=True)
    assert not pace.slow
    pace.heard(7.0, busy=True)
    assert pace.slow
    pace.heard(4.9, busy=True)
    assert not pace.slow


def test_one_late_step_before_idleness_is_not_slow_but_good_news_counts_when_idle() -> None:
    pace = paced()
    for _ in range(5):
        pace.heard(9.0, busy=False)
    assert not pace.slow
    for slowdown in (9.1, 9.2):
        pace.heard(slowdown, busy=True)
    for _ in range(5):
        pace.heard(9.2, busy=False)
        assert pace.slow
    pace.heard(1.0, busy=False)
    assert not pace.slow


def test_a_late_last_step_is_not_counted_from_when_the_engine_became_idle() -> None:
    now = 0.0
    pace = Pace(clock=lambda: now)
    pace.heard(9.0, busy=True)
    pace.heard(9.5, busy=False)
    now = 300.0
    pace.heard(8.0, busy=True)  # the first step of the next answer
    assert not pace.slow


@pytest.mark.parametrize("asked", [2, 10])
def test_a_step_that_is_told_again_counts_once(asked: int) -> None:
    pace = paced()
    for _ in range(asked):
        pace.heard(9.0, busy=True)  # it was the last one; the next reads a long prompt
    assert not pace.slow


def test_a_new_process_that_has_measured_nothing_is_not_slow() -> None:
    pace = paced()
    for slowdown in (9.0, 9.1, 0.0):
        pace.heard(slowdown, busy=True)
    assert not pace.slow
