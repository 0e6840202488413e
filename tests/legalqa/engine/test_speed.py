"""What an engine says of its speed: the same whatever it reads, another within a few steps when it has become slow."""

import random

import pytest

from legalqa.engine.speed import Speed

STEP_S, READ_S = 0.04, 0.0008  # an engine that takes exactly so long


def seconds(prompt_tokens: int, slowdown: float = 1.0) -> float:
    return slowdown * (STEP_S + READ_S * prompt_tokens)


@pytest.fixture
def speed() -> Speed:
    """After a warm-up of both kinds of steps."""
    speed = Speed()
    for prompt_tokens in (60, 0, 0, 0, 40, 0, 80):
        speed.measure(prompt_tokens, 4, seconds(prompt_tokens))
    return speed


def test_nothing_is_known_before_the_first_step() -> None:
    speed = Speed()
    speed.measure(50, 1, 0.1)
    assert (speed.prefill_tokens_per_s, speed.decode_tokens_per_s, speed.step_s) == (500, 0, 0)
    speed.measure(0, 8, 0.04)
    assert (speed.decode_tokens_per_s, speed.step_s) == (200, 0.04)


def test_prompts_of_any_length_are_no_slowness(speed: Speed) -> None:
    chance = random.Random(3)
    for _ in range(500):
        prompt_tokens = chance.choice((10, 60, 200, 512))
        speed.measure(prompt_tokens, 8, seconds(prompt_tokens) * chance.uniform(0.7, 1.4))
        assert 0.4 * STEP_S < speed.step_s < 2.5 * STEP_S


@pytest.mark.parametrize("prompts", [(0,), (60,), (20, 300), (512,)])
def test_ten_times_slower_shows_within_two_steps(speed: Speed, prompts: tuple[int, ...]) -> None:
    for step in range(2):
        prompt_tokens = prompts[step % len(prompts)]
        speed.measure(prompt_tokens, 8, seconds(prompt_tokens, slowdown=10))
    assert speed.step_s > 5 * STEP_S
    for step in range(200):
        speed.measure(prompts[step % len(prompts)], 8, seconds(prompts[step % len(prompts)], slowdown=10))
    assert speed.step_s < 20 * STEP_S  # it settles instead of running away
    for _ in range(8):
        speed.measure(0, 8, seconds(0))
    assert speed.step_s < 2 * STEP_S
