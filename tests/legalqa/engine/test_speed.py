"""What an engine says of its speed: the same whatever it reads, another within a few steps when it has become slow."""

import random
from itertools import product

import pytest

from legalqa.engine.speed import LEARNT, SHORT_S, Speed

STEP_S, READ_S, ROW_S = 0.04, 0.0008, 0.005  # an engine that takes exactly so long: a step, a token read, an answer
ANSWERS = 8


def seconds(prompt_tokens: int, slowdown: float = 1.0, answers: int = ANSWERS) -> float:
    return slowdown * (STEP_S + READ_S * prompt_tokens + ROW_S * (answers - 1))


class Paced(Speed):
    """Its steps take what they are told to."""

    def __init__(self) -> None:
        self.now = 100.0
        super().__init__(clock=lambda: self.now)

    def took(self, prompt_tokens: int, answers: int, seconds: float) -> None:
        self.begin(prompt_tokens, prompt_tokens + answers)
        self.now += seconds
        self.end(answers)

    def step(self, prompt_tokens: int = 0, slowdown: float = 1.0, answers: int = ANSWERS) -> None:
        self.took(prompt_tokens, answers, seconds(prompt_tokens, slowdown, answers))


@pytest.fixture
def speed() -> Paced:
    """After a warm-up of both kinds of steps."""
    speed = Paced()
    for prompt_tokens in (60, 0, 0, 0, 40, 0, 300):
        speed.step(prompt_tokens)
    return speed


def test_nothing_is_known_before_the_first_step() -> None:
    speed = Paced()
    assert speed.slowdown == 0
    speed.took(50, 1, 0.125)
    assert (speed.prefill_tokens_per_s, speed.decode_tokens_per_s, speed.step_s) == (400, 0, 0)
    speed.took(0, 8, 0.0625)
    assert (speed.decode_tokens_per_s, speed.step_s) == (128, 0.0625)


def test_prompts_of_any_length_are_no_slowness(speed: Paced) -> None:
    chance = random.Random(3)
    for _ in range(500):
        prompt_tokens = chance.choice((10, 60, 200, 512))
        took = seconds(prompt_tokens) * chance.uniform(0.7, 1.4)
        speed.took(prompt_tokens, ANSWERS, took)
        assert 0.4 * seconds(0) < speed.step_s < 2.5 * seconds(0)
        assert speed.slowdown < 2.5


@pytest.mark.parametrize("prompts", [(0,), (60,), (20, 300), (512,)])
def test_ten_times_slower_shows_within_two_steps(speed: Paced, prompts: tuple[int, ...]) -> None:
    for number in range(2):
        speed.step(prompts[number % len(prompts)], slowdown=10)
    assert speed.slowdown > 5 and speed.step_s > 5 * seconds(0)
    for number in range(200):
        speed.step(prompts[number % len(prompts)], slowdown=10)
    assert 5 < speed.slowdown < 20 and speed.step_s < 20 * seconds(0)  # it settles instead of running away
    for _ in range(8):
        speed.step()
    assert speed.slowdown < 2 and speed.step_s < 2 * seconds(0)


@pytest.mark.parametrize(("mostly", "then"), [*product((1, 4, 16), repeat=2)])
def test_what_is_usual_depends_on_the_work_of_a_step(mostly: int, then: int) -> None:
    speed = Paced()
    for answers in (1, 2, 4, 8, 16, *[mostly] * 1000):
        speed.step(answers=answers)
    for _ in range(4):
        speed.step(answers=then)
    assert 0.5 < speed.slowdown < 2
    for _ in range(4):
        speed.step(answers=then, slowdown=10)
    assert speed.slowdown > 5


@pytest.mark.parametrize("short_s", [0.002, 0.01])
def test_short_steps_are_never_slow(short_s: float) -> None:
    speed = Paced()
    for took in [short_s] * 100 + [0.99 * 5 * SHORT_S] * 20:
        speed.took(0, 1, took)
        assert speed.slowdown < 5


def test_what_is_slow_or_on_its_way_there_is_not_learnt(speed: Paced) -> None:
    for number in range(1000):
        speed.step(slowdown=LEARNT + 0.1 + number % 7)
    assert speed.slowdown > 5
    speed.step()
    speed.step(slowdown=12)
    assert speed.slowdown > 5


def test_a_size_not_seen_yet_takes_twice_as_long_for_twice_as_much_at_most() -> None:
    speed = Paced()
    for _ in range(10):
        speed.step(answers=1)
    speed.step(answers=2, slowdown=20)
    speed.step(answers=2, slowdown=20)
    assert speed.slowdown > 5
    speed.step(prompt_tokens=60, answers=1)
    for _ in range(10):
        speed.step(prompt_tokens=512, slowdown=10, answers=1)
    assert speed.slowdown > 5
    for _ in range(10):
        speed.step(answers=16)
    for _ in range(4):
        speed.step(answers=8, slowdown=10)  # a part takes no longer than the whole
    assert speed.slowdown > 5


def test_one_pause_is_over_with_the_next_steps(speed: Paced) -> None:
    speed.step(slowdown=1000)
    assert speed.slowdown > 5
    speed.step()
    assert speed.slowdown < 5


def test_a_cold_first_step_is_not_the_usual_one_for_long() -> None:
    speed = Paced()
    speed.step(slowdown=8)
    for _ in range(3):
        speed.step()
    for _ in range(3):
        speed.step(slowdown=10)
    assert speed.slowdown > 5


def test_the_step_that_runs_tells_before_it_ends(speed: Paced) -> None:
    for late, slow in ((4.9, False), (5.1, True)):
        speed.begin(0, ANSWERS)
        speed.now += late * seconds(0)
        assert (speed.slowdown > 5) == slow
        speed.rest()  # it failed
        speed.now += 1000
        assert speed.slowdown < 2
