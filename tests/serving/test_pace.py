import pytest

from serving.pace import Pace


def test_slow_is_five_times_the_usual_step_twice_in_a_row() -> None:
    pace = Pace()
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
    pace = Pace()
    for step_s in steps:
        pace.heard(step_s, busy=True)
    assert not pace.slow


def test_a_slow_engine_does_not_become_the_usual_one() -> None:
    pace = Pace()
    pace.heard(0.03, busy=True)
    for _ in range(1000):
        pace.heard(0.3, busy=True)
    assert pace.slow


def test_one_late_step_before_idleness_is_not_slow_but_good_news_counts_when_idle() -> None:
    pace = Pace()
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
    pace = Pace()
    pace.heard(0.04, busy=True)
    for step_s in (0.13, 0.16, 0.19) * 20:
        pace.heard(step_s, busy=True)
    for _ in range(2):
        pace.heard(0.21, busy=True)
    assert pace.slow
