"""What every kind of local engine keeps."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from legalqa.engine.answer import Answer
from legalqa.engine.continuous_engine import ContinuousEngine
from legalqa.engine.interface import Completion, Delta, FinishReason, GenerationRequest
from legalqa.engine.loading import Weights
from legalqa.engine.local_engine import LocalEngine
from legalqa.engine.static_engine import StaticEngine
from legalqa.problems import UserError
from legalqa.prompt import Prompt
from tests.legalqa.engine.conftest import QUESTIONS, asked

KINDS: dict[type[LocalEngine], Weights] = {ContinuousEngine: "int8", StaticEngine: "fp32"}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[LocalEngine]:
    found: type[LocalEngine] = request.param
    return found


@pytest.fixture(scope="module")
def engine(kind: type[LocalEngine], tiny: Path, prompt: Prompt) -> Iterator[LocalEngine]:
    engine = kind(tiny, None, prompt, max_batch=4, max_context=256, weights=KINDS[kind])
    engine.start()
    yield engine
    engine.stop()


def _all(deltas: list[Delta]) -> Completion:
    return Completion(
        "".join(d.text for d in deltas), tuple(t for d in deltas for t in d.token_ids), deltas[-1].finish_reason or "stop"
    )


async def _stream(engine: LocalEngine, request: GenerationRequest) -> list[Delta]:
    return [delta async for delta in engine.stream(request)]


def test_a_batch_gives_the_tokens_of_single_requests(engine: LocalEngine, prompt: Prompt) -> None:
    requests = [asked(prompt, question, new=10 + 3 * n) for n, question in enumerate(QUESTIONS)]
    alone = [engine.generate_many([request])[0] for request in requests]
    assert engine.generate_many(requests) == alone
    assert [len(c.token_ids) for c in alone] == [10 + 3 * n for n in range(len(QUESTIONS))]
    assert {c.finish_reason for c in alone} == {"length"}


def test_tokens_equal_transformers_greedy_search(kind: type[LocalEngine], tiny: Path, prompt: Prompt) -> None:
    engine = kind(tiny, None, prompt, weights="fp32", max_context=256)
    engine.start()
    request = asked(prompt, QUESTIONS[1], new=12)
    ours = engine.generate_many([request])[0].token_ids
    engine.stop()
    plain = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    theirs = plain.generate(torch.tensor([list(request.prompt_ids)]), max_new_tokens=12, do_sample=False)
    assert list(ours) == theirs[0, len(request.prompt_ids) :].tolist()


def test_streams_hold_whole_characters_and_add_up(engine: LocalEngine, prompt: Prompt) -> None:
    request = asked(prompt, QUESTIONS[0], new=40, temperature=1.5, seed=3)
    whole = engine.generate_many([request])[0]
    deltas = asyncio.run(_stream(engine, request))
    assert replace(_all(deltas), prompt_tokens=whole.prompt_tokens) == whole
    assert all("\ufffd" not in delta.text for delta in deltas)
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)


def test_a_seed_gives_the_same_tokens_whatever_runs_beside(engine: LocalEngine, prompt: Prompt) -> None:
    drawn = asked(prompt, QUESTIONS[2], temperature=1.0, top_p=0.9, seed=11)
    alone = engine.generate_many([drawn])[0]
    others = [asked(prompt, question, temperature=1.0) for question in QUESTIONS[:3]]
    assert engine.generate_many([*others, drawn])[3] == alone


def test_more_requests_than_slots_are_all_answered_in_order(engine: LocalEngine, prompt: Prompt) -> None:
    requests = [asked(prompt, f"第{n}个问题", new=n % 5 + 1) for n in range(23)]
    seen: list[Completion] = []
    completions = engine.generate_many(requests, done=seen.append)
    assert [len(c.token_ids) for c in completions] == [n % 5 + 1 for n in range(23)]
    assert seen == completions
    assert engine.health().running == engine.health().waiting == 0


def test_a_stop_string_ends_the_answer_before_it(engine: LocalEngine, prompt: Prompt) -> None:
    whole = engine.generate_many([asked(prompt, QUESTIONS[3], new=40, temperature=1.0, seed=5)])[0]
    stop = whole.text[4:6]
    cut = engine.generate_many([asked(prompt, QUESTIONS[3], new=40, temperature=1.0, seed=5, stop=(stop,))])[0]
    assert (cut.text, cut.finish_reason) == (whole.text.split(stop)[0], "stop")


def test_the_end_token_ends_the_answer_and_is_not_part_of_it(kind: type[LocalEngine], tiny: Path, prompt: Prompt) -> None:
    request = asked(prompt, QUESTIONS[1], new=24)
    engine = kind(tiny, None, prompt, max_context=256)
    engine.start()
    tokens = engine.generate_many([request])[0].token_ids
    engine.stop()
    end = tokens[5]
    ending = Prompt.from_base(tiny)
    ending.stop_ids = frozenset({end})
    engine = kind(tiny, None, ending, max_context=256)
    engine.start()
    completion = engine.generate_many([request])[0]
    engine.stop()
    assert (completion.finish_reason, completion.token_ids) == ("stop", tokens[: tokens.index(end)])


def test_bad_requests_fail_alone(engine: LocalEngine, prompt: Prompt) -> None:
    good = asked(prompt, QUESTIONS[0], new=4)
    bad = [replace(good, prompt_ids=()), replace(good, max_new_tokens=0), replace(good, max_new_tokens=1000)]
    completions = engine.generate_many([bad[0], good, bad[1], bad[2]])
    assert [c.finish_reason for c in completions] == ["error", "length", "error", "error"]
    assert "256 fit" in completions[3].error


def test_a_deadline_ends_waiting_and_running_requests(
    engine: LocalEngine, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = engine._take

    def slow(*step: Any) -> None:
        time.sleep(0.01)
        take(*step)

    monkeypatch.setattr(engine, "_take", slow)
    past = asked(prompt, QUESTIONS[0], deadline=time.monotonic() - 1)
    soon = asked(prompt, QUESTIONS[1], new=200, deadline=time.monotonic() + 0.05)
    completions = engine.generate_many([past, soon])
    assert [c.finish_reason for c in completions] == ["deadline", "deadline"]
    assert completions[0].token_ids == ()
    assert len(completions[1].token_ids) < 200


def test_closing_a_stream_frees_its_slot_within_one_step(engine: LocalEngine, prompt: Prompt) -> None:
    async def first_two() -> None:
        async with aclosing(engine.stream(asked(prompt, QUESTIONS[2], new=200))) as deltas:
            await anext(deltas)
            await anext(deltas)

    asyncio.run(first_two())
    engine.generate_many([asked(prompt, QUESTIONS[0], new=1)])
    assert engine.health().running == 0


def test_a_failing_step_is_told_and_the_engine_goes_on(
    engine: LocalEngine, prompt: Prompt, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_take", lambda *_step: 1 / 0)
        failed = engine.generate_many([asked(prompt, QUESTIONS[0]), asked(prompt, QUESTIONS[1])])
    assert {(c.finish_reason, c.error) for c in failed} == {("error", "ZeroDivisionError: division by zero")}
    assert "failed" in caplog.text
    assert engine.generate_many([asked(prompt, QUESTIONS[0], new=2)])[0].finish_reason == "length"


def test_an_answer_that_fails_does_not_take_its_neighbours_along(
    engine: LocalEngine, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [asked(prompt, question, new=4) for question in QUESTIONS[:3]]
    wanted = engine.generate_many(requests)
    take = Answer.take

    def spoilt(answer: Answer, logits: Tensor) -> FinishReason | None:
        return take(answer, logits) if answer.request.id != "spoilt" or not answer.written else 1 // 0

    monkeypatch.setattr(Answer, "take", spoilt)
    found = engine.generate_many([requests[0], replace(requests[1], id="spoilt"), requests[2]])
    assert (found[0], found[2]) == (wanted[0], wanted[2])
    assert (found[1].finish_reason, found[1].error) == ("error", "ZeroDivisionError: integer division or modulo by zero")
    assert engine.health().running == 0


def test_the_time_without_work_is_not_a_step_age(engine: LocalEngine, prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the first question after a quiet hour would look as if the engine had been stuck for that long."""
    admit = engine._admit
    ages: list[float] = []

    def looked_at() -> None:
        ages.append(engine.health().last_step_age_s)
        admit()

    monkeypatch.setattr(engine, "_admit", looked_at)
    engine._last_step -= 3600
    engine.generate_many([asked(prompt, QUESTIONS[0], new=3)])
    assert ages
    assert max(ages) < 60


def test_stop_lets_running_answers_end_then_cancels_and_refuses(kind: type[LocalEngine], tiny: Path, prompt: Prompt) -> None:
    engine = kind(tiny, None, prompt, max_batch=1, max_context=256)
    short, long = asked(prompt, QUESTIONS[0], new=3), asked(prompt, QUESTIONS[0], new=200)
    for drain_s, request, reason in ((60.0, short, "length"), (0.0, long, "cancelled")):
        engine.start()
        results: list[Completion] = []
        caller = threading.Thread(target=lambda asked=request, into=results: into.extend(engine.generate_many([asked])))
        caller.start()
        while not (engine.health().running or engine.health().waiting or results):
            time.sleep(0.0005)
        engine.stop(drain_s)
        caller.join()
        assert results[0].finish_reason == reason
        assert not engine.health().alive
        assert engine.generate_many([request])[0].error == "the engine takes no requests"


def test_health_tells_work_and_measured_speed(engine: LocalEngine, prompt: Prompt) -> None:
    engine.generate_many([asked(prompt, QUESTIONS[0], new=5)])
    health = engine.health()
    assert health.alive
    assert health.ready
    assert health.last_step_age_s == 0.0  # nothing to do: no step is due
    assert health.prefill_tokens_per_s > 0
    assert health.decode_tokens_per_s > 0
    assert 0 < health.step_s < 5
    assert health.estimate(100, 10, max_batch=4).total_s > health.estimate(10, 10, max_batch=4).total_s


def test_one_thread_loads_and_computes(
    kind: type[LocalEngine], tiny: Path, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second thread with an OpenMP team of its own would slow every step down."""
    seen: list[tuple[str, str]] = []
    for name in ("_load", "_advance", "_logits_of"):
        original = getattr(kind, name)

        def noted(*args: object, _name: str = name, _original: Callable[..., object] = original) -> object:
            seen.append((_name, threading.current_thread().name))
            return _original(*args)

        monkeypatch.setattr(kind, name, noted)
    engine = kind(tiny, None, prompt, max_context=256)
    engine.start()
    request = asked(prompt, QUESTIONS[0], new=3)
    engine.generate_many([request])
    loss, tokens = engine.answer_loss(request.prompt_ids, [0, 1] * (len(request.prompt_ids) // 2))
    assert loss > 0 < tokens
    with pytest.raises(IndexError):
        engine.answer_loss([10**9], [1])
    assert engine.generate_many([request])[0].finish_reason == "length"
    engine.stop()
    assert {name for name, _ in seen} == {"_load", "_advance", "_logits_of"}
    assert {thread for _, thread in seen} == {"engine"}


def test_answer_loss_is_that_of_transformers(kind: type[LocalEngine], tiny: Path, prompt: Prompt) -> None:
    ids = asked(prompt, QUESTIONS[0], new=1).prompt_ids
    mask = [1, 0, 0, *[1] * (len(ids) - 3)]  # nothing foretells the first token: it does not count
    labels = [-100, -100, -100, *ids[3:]]
    plain = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    expected = plain(torch.tensor([ids]), labels=torch.tensor([labels])).loss.item()
    engine = kind(tiny, None, prompt, max_context=256, weights="fp32")
    engine.start()
    loss, tokens = engine.answer_loss(ids, mask)
    engine.stop()
    assert tokens == len(ids) - 3
    assert loss / tokens == pytest.approx(expected, rel=1e-4)


def test_a_base_that_is_missing_is_told_by_start(kind: type[LocalEngine], tmp_path: Path, prompt: Prompt) -> None:
    engine = kind(tmp_path, None, prompt)
    with pytest.raises(UserError, match="no model there"):
        engine.start()
    assert not engine.health().alive
    assert engine.generate_many([asked(prompt, QUESTIONS[0])])[0].error == "the engine takes no requests"
