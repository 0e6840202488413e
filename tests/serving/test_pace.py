from itertools import count

import pytest

from serving.pace import FOR_S, Pace


def paced() -> Pace:
    """Each slow step is heard half a second after the one before."""
    ticks = count()
    return Pace(clock=lambda: next(ticks) * FOR_S)


def test_slow_is_five_times_the_usual_step_for_half_a_second() -> None:
    pace = paced()
    for step_s in (0.0, 0.03, 0.04, 0.03):
        pace.heard(step_s, busy=True)
    pace.heard(0.3, busy=True)
    assert not pace.slow
    pace.heard(0.04, busy=True)
    pace.heard(0.3, busy=True)
    assert not pace.slow
    pace.heard(0.3, busy=True)
    assert pace.slow
    pace.heard(0.05, busy=True)
    assert not pace.slow


@pytest.mark.parametrize("steps", [[0.001, 0.02, 0.02, 0.02], [0.0, 9.0, 9.0], [0.03, 0.0, 0.0]])
def test_short_steps_first_steps_and_idleness_are_not_slow(steps: list[float]) -> None:
    pace = paced()
    for step_s in steps:
        pace.heard(step_s, busy=True)
    assert not pace.slow


def test_a_slow_engine_does_not_become_the_usual_one() -> None:
    pace = paced()
    pace.heard(0.03, busy=True)
    for _ in range(1000):
        pace.heard(0.3, busy=True)
    assert pace.slow


def test_one_late_step_before_idleness_is_not_slow_but_good_news_counts_when_idle() -> None:
    pace = paced()
    pace.heard(0.03, busy=True)
    for _ in range(5):
        pace.heard(0.6, busy=False)
    assert not pace.slow
    for _ in range(2):
        pace.heard(0.6, busy=True)
    assert pace.slow
    pace.heard(0.04, busy=False)
    assert not pace.slow


def test_what_is_on_its_way_to_slow_is_not_learnt() -> None:
    pace = paced()
    pace.heard(0.04, busy=True)
    for step_s in (0.13, 0.16, 0.19) * 20:
        pace.heard(step_s, busy=True)
    for _ in range(2):
        pace.heard(0.21, busy=True)
    assert pace.slow


def test_pieces_of_answers_tell_of_slowness_but_teach_nothing() -> None:
    now = 0.0
    pace = Pace(clock=lambda: now)
    pace.heard(0.04, busy=True)
    for _ in range(16):  # one late step, told with the next piece of sixteen answers
        pace.saw(0.5)
    assert not pace.slow
    pace.saw(0.04)
    now = 1.0
    pace.saw(0.5)
    now = 1.0 + FOR_S
    pace.saw(0.5)
    assert pace.slow
    for _ in range(1000):
        pace.saw(0.11)
    assert not pace.slow and pace._usual_s == pytest.approx(0.04)


def test_a_late_last_step_is_not_counted_from_when_the_engine_became_idle() -> None:
    now = 0.0
    pace = Pace(clock=lambda: now)
    pace.heard(0.04, busy=True)
    pace.saw(0.5)
    pace.heard(0.5, busy=False)
    now = 300.0
    pace.saw(0.5)  # the first piece of the next answer
    assert not pace.slow
