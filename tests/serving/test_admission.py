"""The door: what fits its deadline gets in, all places come back."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies

from legalqa.engine.interface import Health
from legalqa.params import ServeParams
from serving.admission import TRIAL_S, Admission, Ticket

PARAMS = ServeParams(max_requests=6, max_tokens=4000)
MEASURED = Health(alive=True, ready=True, prefill_tokens_per_s=200, decode_tokens_per_s=40, step_s=0.05)


def admit(
    door: Admission, prompt: int = 50, new: int = 100, first_s: float = 5, total_s: float = 20, **more: object
) -> Ticket | None:
    now = time.monotonic()
    health = more.get("health", MEASURED)
    assert isinstance(health, Health)
    return door.admit(prompt, new, now + first_s, now + total_s, health, max_batch=2)


def test_what_would_be_late_is_not_let_in() -> None:
    door = Admission(PARAMS)
    assert admit(door, new=1000, total_s=20) is None  # 25 s of writing
    assert admit(door, prompt=600, first_s=5) is None  # 3 s of reading, which may as well take 6
    assert admit(door)


def test_accepted_work_counts_until_it_is_done() -> None:
    door = Admission(PARAMS)
    first, second = admit(door), admit(door)
    assert first and second
    assert admit(door, first_s=4) is None  # both places of the batch are taken for 2.5 s and more
    first.wrote(99)
    second.wrote(99)
    assert admit(door, first_s=2)
    first.close()
    first.close()
    assert len(door.tickets) == 2


def test_who_can_not_join_a_batch_waits_for_its_end() -> None:
    """Counted here, at once: the engine's own word comes twice a second."""
    door = Admission(PARAMS)
    static = replace(MEASURED, joins=False)
    first = admit(door, first_s=4, health=static)
    assert first
    assert admit(door, first_s=4, health=static) is None  # a hundred steps of 50 ms, which may as well take twice the time
    assert admit(door, first_s=4, health=replace(static, joins=True))
    first.wrote(80)
    for ticket in door.tickets.keys() - {first}:
        ticket.close()
    assert admit(door, first_s=4, health=static)


def test_a_batch_that_began_at_once_ends_at_once_and_one_of_all_ages_answer_by_answer() -> None:
    """A hundred steps of 50 ms are 5 s, which may as well take 10; with 60 of them written, 2 s."""
    for written, lets_in in (((0, 0), False), ((60, 60), True), ((0, 60), True)):
        door = Admission(PARAMS)
        for ticket, tokens in zip([admit(door), admit(door)], written, strict=True):
            assert ticket
            ticket.wrote(tokens)
        assert bool(admit(door)) is lets_in


def test_the_length_of_the_last_answers_foretells_those_of_others() -> None:
    """They may get hundred tokens, and are allowed a thousand."""
    door = Admission(PARAMS)
    running = [admit(door, new=1000, first_s=100, total_s=100) for _ in range(2)]
    for ticket in running:
        assert ticket
        ticket.wrote(90)
    assert admit(door) is None
    for tokens in (100, 100, 80, 1000):
        past = Ticket(door, 50, 1000)
        past.wrote(tokens)
        past.ended(cut=tokens == 1000)
    assert admit(door)  # the last but 80 are longer than these: of two one is likely to end within 10 steps
    for ticket in running:
        assert ticket
        ticket.wrote(20)
    assert admit(door) is None  # only the one that was cut was longer than these


def test_who_waits_behind_whole_batches_waits_for_all_of_them() -> None:
    """Two write a batch that still takes 50 steps; two more make another of 100; the next begins after 150, which are 7.5 s."""
    for joins in (True, False):
        door = Admission(PARAMS)
        for written in (50, 50, 0, 0):
            door.keep(50, 100).wrote(written)
        assert door._free_s(replace(MEASURED, joins=joins), 2) == pytest.approx(7.5)
        short = Ticket(door, 50, 100)
        short.wrote(60)
        short.ended(cut=False)  # then 10 steps, and 60
        assert door._free_s(MEASURED, 2) == pytest.approx(3.5)


def test_caps_on_requests_and_tokens() -> None:
    door = Admission(PARAMS)
    assert admit(door, new=4000, total_s=1e6) is None
    tickets = [admit(door, new=10, first_s=100, total_s=1000) for _ in range(7)]
    assert [bool(ticket) for ticket in tickets] == [True] * 6 + [False]


def test_before_the_first_measurement_only_free_places_count() -> None:
    door = Admission(PARAMS)
    unmeasured = Health(alive=True, ready=True)
    assert [bool(admit(door, health=unmeasured)) for _ in range(3)] == [True, True, False]


def test_an_idle_engine_is_tried_again_however_slow_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Admission(PARAMS)
    slow = Health(alive=True, ready=True, prefill_tokens_per_s=5, decode_tokens_per_s=1)
    assert admit(door, health=slow) is None
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + TRIAL_S)
    first = admit(door, health=slow)
    assert first and admit(door, health=slow) is None
    first.close()
    assert admit(door, health=slow) is None


@settings(max_examples=100, deadline=None)
@given(
    strategies.lists(
        strategies.tuples(
            strategies.sampled_from(["in", "wrote", "out"]), strategies.integers(1, 2000), strategies.integers(0, 9)
        )
    )
)
def test_caps_hold_and_everything_comes_back(course: list[tuple[str, int, int]]) -> None:
    door = Admission(PARAMS)
    held: list[Ticket] = []
    for kind, size, pick in course:
        if kind == "in":
            ticket = admit(door, prompt=size, new=size, first_s=1e6, total_s=1e6)
            held += [ticket] if ticket else []
        elif held and kind == "wrote":
            held[pick % len(held)].wrote(size)
        elif held:
            held.pop(pick % len(held)).close()
        load = door.load(MEASURED, 2)
        assert len(held) == load.running + load.waiting == len(door.tickets) <= PARAMS.max_requests
        assert door.tokens <= PARAMS.max_tokens
        assert load.queued_prompt_tokens >= 0
        assert 1 <= door.retry_after_s(MEASURED) <= 60
    for ticket in held:
        ticket.close()
    assert door.tokens == 0
