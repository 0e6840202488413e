import pytest

from serving.pace import Pace


def test_slow_is_five_times_the_usual_step_twice_in_a_row() -> None:
    pace = Pace()
    for step_s in (0.0, 0.03, 0.04, 0.03):
        pace.heard(step_s)
    pace.heard(0.3)
    assert not pace.slow
    pace.heard(0.04)
    pace.heard(0.3)
    assert not pace.slow
    pace.heard(0.3)
    assert pace.slow
    pace.heard(0.05)
    assert not pace.slow


@pytest.mark.parametrize("steps", [[0.001, 0.02, 0.02, 0.02], [0.0, 9.0, 9.0], [0.03, 0.0, 0.0]])
def test_short_steps_first_steps_and_idleness_are_not_slow(steps: list[float]) -> None:
    pace = Pace()
    for step_s in steps:
        pace.heard(step_s)
    assert not pace.slow


def test_a_slow_engine_does_not_become_the_usual_one() -> None:
    pace = Pace()
    pace.heard(0.03)
    for _ in range(1000):
        pace.heard(0.3)
    assert pace.slow
