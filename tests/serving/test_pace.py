from itertools import count

import pytest

from serving.pace import FOR_S, SLOW, Pace

USUAL_S = {1: 0.035, 4: 0.05, 16: 0.11}  # a full batch's step of a real engine takes three times that of one answer


def paced() -> Pace:
    """Each slow step is heard half a second after the one before."""
    ticks = count()
    return Pace(clock=lambda: next(ticks) * FOR_S)


def test_slow_is_five_times_the_usual_step_for_half_a_second() -> None:
    pace = paced()
    for step_s in (0.0, 0.03, 0.04, 0.03):
        pace.heard(step_s, 1)
    pace.heard(0.3, 1)
    assert not pace.slow
    pace.heard(0.04, 1)
    pace.heard(0.3, 1)
    assert not pace.slow
    pace.heard(0.3, 1)
    assert pace.slow
    pace.heard(0.05, 1)
    assert not pace.slow


@pytest.mark.parametrize("steps", [[0.001, 0.02, 0.02, 0.02], [0.0, 9.0, 9.0], [0.03, 0.0, 0.0]])
def test_short_steps_first_steps_and_idleness_are_not_slow(steps: list[float]) -> None:
    pace = paced()
    for step_s in steps:
        pace.heard(step_s, 1)
    assert not pace.slow


def test_a_slow_engine_does_not_become_the_usual_one() -> None:
    pace = paced()
    pace.heard(0.03, 1)
    for _ in range(1000):
        pace.heard(0.3, 1)
    assert pace.slow


def test_one_late_step_before_idleness_is_not_slow_but_good_news_counts_when_idle() -> None:
    pace = paced()
    pace.heard(0.03, 1)
    for _ in range(5):
        pace.heard(0.6, 0)
    assert not pace.slow
    for _ in range(2):
        pace.heard(0.6, 1)
    assert pace.slow
    pace.heard(0.04, 0)
    assert not pace.slow


def test_what_is_on_its_way_to_slow_is_not_learnt() -> None:
    pace = paced()
    pace.heard(0.04, 1)
    for step_s in (0.13, 0.16, 0.19) * 20:
        pace.heard(step_s, 1)
    for _ in range(2):
        pace.heard(0.21, 1)
    assert pace.slow


@pytest.mark.parametrize("running", USUAL_S)
@pytest.mark.parametrize("mostly", USUAL_S)
def test_what_is_usual_depends_on_how_many_answers_run(running: int, mostly: int) -> None:
    pace = paced()
    for at_once, step_s in (*USUAL_S.items(), *[(mostly, USUAL_S[mostly])] * 100):
        pace.heard(step_s, at_once)
    for _ in range(2):
        pace.heard(0.9 * SLOW * USUAL_S[running], running)
    assert not pace.slow
    for _ in range(2):
        pace.heard(1.1 * SLOW * USUAL_S[running], running)
    assert pace.slow


def test_an_idle_engine_teaches_nothing() -> None:
    pace = paced()
    pace.heard(0.11, 16)
    for _ in range(1000):
        pace.heard(0.035, 0)  # of the last answer of that batch, which it ended alone
    for _ in range(2):
        pace.heard(0.4, 16)
    assert not pace.slow


def test_a_size_not_seen_yet_may_take_as_long_as_one_step_for_each_answer() -> None:
    pace = paced()
    pace.heard(0.05, 1)
    for _ in range(2):
        pace.heard(1.0, 8)  # 2.5 times 8 x 0.05
    assert not pace.slow
    for _ in range(2):
        pace.heard(2.5, 8)
    assert pace.slow
    pace.heard(0.1, 4)  # a smaller one than one seen takes no longer than that one
    for _ in range(2):
        pace.heard(0.51, 2)
    assert pace.slow


def test_a_late_last_step_is_not_counted_from_when_the_engine_became_idle() -> None:
    now = 0.0
    pace = Pace(clock=lambda: now)
    pace.heard(0.04, 1)
    pace.heard(0.5, 1)
    pace.heard(0.5, 0)
    now = 300.0
    pace.heard(0.5, 1)  # the first steps of the next answer
    assert not pace.slow
