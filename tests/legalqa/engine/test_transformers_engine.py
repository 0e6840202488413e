import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from legalqa.engine import transformers_engine
from legalqa.engine.answer import Answer
from legalqa.engine.attention import Rows
from legalqa.engine.drafts import Drafts, Phrases
from legalqa.engine.interface import Completion, Delta, FinishReason, GenerationRequest
from legalqa.engine.slots import SlotModel
from legalqa.engine.transformers_engine import TransformersEngine
from legalqa.problems import UserError
from legalqa.prompt import Prompt
from legalqa.records import Message
from tests.tiny import tiny_model

QUESTIONS = [
    "离婚",
    "公司不给加班费，怎么办？",
    "房东要提前收回房子",
    "借条没有写还款日期",
    "a",
    "邻居漏水把我家的墙泡坏了，他不肯赔",
]


def _request(prompt: Prompt, question: str, new: int = 24, **more: object) -> GenerationRequest:
    ids = prompt.completion([Message(role="user", content=question)])
    return replace(GenerationRequest(ids, new), **more)  # type: ignore[arg-type]


def _all(deltas: list[Delta]) -> Completion:
    return Completion(
        "".join(d.text for d in deltas), tuple(t for d in deltas for t in d.token_ids), deltas[-1].finish_reason or "stop"
    )


async def _stream(engine: TransformersEngine, request: GenerationRequest) -> list[Delta]:
    return [delta async for delta in engine.stream(request)]


def test_a_batch_gives_the_tokens_of_single_requests(engine: TransformersEngine, prompt: Prompt) -> None:
    requests = [_request(prompt, question, new=10 + 3 * n) for n, question in enumerate(QUESTIONS)]
    alone = [engine.generate_many([request])[0] for request in requests]
    assert engine.generate_many(requests) == alone
    assert [len(c.token_ids) for c in alone] == [10 + 3 * n for n in range(len(QUESTIONS))]
    assert {c.finish_reason for c in alone} == {"length"}


def test_nothing_is_left_to_compile_for_the_first_answers(tiny: Path) -> None:
    program = f"""
from pathlib import Path
from legalqa.engine import kernels
from legalqa.engine.interface import GenerationRequest
from legalqa.engine.transformers_engine import TransformersEngine
from legalqa.prompt import Prompt
base = Path({str(tiny)!r})
engine = TransformersEngine(base, None, Prompt.from_base(base), max_batch=2, max_context=64)
own = {{name: f for name, f in vars(kernels).items() if name[0] != "_" and hasattr(f, "signatures")}}
compiled = lambda: {{name: len(f.signatures) for name, f in own.items()}}
engine.start()
before = compiled()
answers = engine.generate_many([GenerationRequest((5, 6, 7), 4 + n) for n in range(3)])  # the last joins the second
engine.stop()
assert len(before) >= 6 and all(before.values()) and compiled() == before, (before, compiled())
print(*(len(one.token_ids) for one in answers))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert found.stdout == "4 5 6\n", found.stderr


def test_tokens_equal_transformers_greedy_search(tiny: Path, prompt: Prompt) -> None:
    engine = TransformersEngine(tiny, None, prompt, weights="fp32", max_context=256)
    engine.start()
    request = _request(prompt, QUESTIONS[1], new=12)
    ours = engine.generate_many([request])[0].token_ids
    engine.stop()
    plain = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    theirs = plain.generate(torch.tensor([list(request.prompt_ids)]), max_new_tokens=12, do_sample=False)
    assert list(ours) == theirs[0, len(request.prompt_ids) :].tolist()


def test_phrases_save_steps_and_change_no_token(
    engine: TransformersEngine, tiny: Path, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers_engine, "CHEAP_ROWS", 7)  # of a processor with VNNI
    requests = [_request(prompt, question) for question in QUESTIONS]
    plain = [engine.generate_many([request])[0] for request in requests]
    known = Phrases([completion.token_ids for completion in plain[::2]])  # of half of the answers; misleading for the rest
    guessing = TransformersEngine(tiny, None, prompt, max_batch=4, max_context=256, phrases=known)
    guessing.start()
    assert [guessing.generate_many([request])[0] for request in requests] == plain
    assert guessing.generate_many(requests) == plain
    steps = [len(asyncio.run(_stream(engine, requests[0]))) for engine in (engine, guessing)]  # one delta a step
    drawn = _request(prompt, QUESTIONS[2], temperature=1.0, seed=11)
    assert guessing.generate_many([drawn]) == engine.generate_many([drawn])
    guessing.stop()
    assert steps[1] < steps[0] / 2


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("lively") / "base", spread=0.2)


@pytest.mark.parametrize("length", [232, 253, 256, 509])
def test_phrases_change_no_token_amid_an_answer_nor_at_an_end(
    lively: Path, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ends: of the room (232: of the cache, too), by a stop token, by a stop string; each amid phrases that would go on.

    Every sixth token of the phrases is wrong. Logits are compared, too: a key that is missing seldom changes a token.
    """
    monkeypatch.setattr(transformers_engine, "CHEAP_ROWS", 7)
    steps: list[tuple[int, torch.Tensor]] = []  # guesses, and the logits of the tokens that were written
    take = Answer.take

    def noted(answer: Answer, logits: torch.Tensor) -> FinishReason | None:
        before = answer.written
        reason = take(answer, logits)
        steps.append((len(logits) - 1, logits[: answer.written - before]))
        return reason

    monkeypatch.setattr(Answer, "take", noted)
    prompt = Prompt.from_base(lively)
    room = length + 24
    ids = [[(7 * n + at) % 200 for at in range(length - n)] for n in range(3)]
    requests = [GenerationRequest(tuple(one), room - len(one)) for one in ids]

    def one_by_one(
        engine: TransformersEngine, some: list[GenerationRequest], stop_ids: frozenset[int]
    ) -> tuple[list[Completion], torch.Tensor]:
        prompt.stop_ids = stop_ids
        steps.clear()
        completions = [engine.generate_many([request])[0] for request in some]
        return completions, torch.cat([written for _, written in steps])

    plain = TransformersEngine(lively, None, prompt, max_batch=4, max_context=room)
    plain.start()
    none: frozenset[int] = frozenset()
    with monkeypatch.context() as patch:
        patch.setattr(Drafts, "guess", lambda _drafts, _most: [])
        free = one_by_one(plain, requests, none)
        whole = free[0]
        early = {token for one in whole for token in one.token_ids[:8]}
        ends = frozenset(next(token for token in one.token_ids[8:] if token not in early) for one in whole)
        halves = [one.text[len(one.text) // 2 :] for one in whole]
        stopped = [replace(request, stop=(half[:2],)) for request, half in zip(requests, halves, strict=True)]
        by_token, by_text = one_by_one(plain, requests, ends), one_by_one(plain, stopped, none)
        assert not any(guesses for guesses, _ in steps)
    plain.stop()
    assert all(len(set(one.token_ids)) > 5 for one in whole)
    assert {one.finish_reason for one in by_token[0] + by_text[0]} == {"stop"}
    assert all(one.text for one in by_text[0])

    known = [[0 if at % 6 == 5 else token for at, token in enumerate(one.token_ids * 2)] for one in whole]
    guessing = TransformersEngine(lively, None, prompt, max_batch=4, max_context=room, phrases=Phrases(known))
    guessing.start()
    for some, stop_ids, (completions, logits) in ((requests, none, free), (requests, ends, by_token), (stopped, none, by_text)):
        guessed = one_by_one(guessing, some, stop_ids)
        assert guessed[0] == completions
        assert torch.equal(guessed[1], logits)
        assert any(len(written) > 2 for _, written in steps)
        assert any(len(written) <= guesses for guesses, written in steps)
        assert guessing.generate_many(some) == completions
    guessing.stop()


def test_streams_hold_whole_characters_and_add_up(engine: TransformersEngine, prompt: Prompt) -> None:
    request = _request(prompt, QUESTIONS[0], new=40, temperature=1.5, seed=3)
    whole = engine.generate_many([request])[0]
    deltas = asyncio.run(_stream(engine, request))
    assert replace(_all(deltas), prompt_tokens=whole.prompt_tokens) == whole
    assert all("\ufffd" not in delta.text for delta in deltas)
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)


def test_a_seed_gives_the_same_tokens_whatever_runs_beside(engine: TransformersEngine, prompt: Prompt) -> None:
    drawn = _request(prompt, QUESTIONS[2], temperature=1.0, top_p=0.9, seed=11)
    alone = engine.generate_many([drawn])[0]
    others = [_request(prompt, question, temperature=1.0) for question in QUESTIONS[:3]]
    assert engine.generate_many([*others, drawn])[3] == alone


def test_more_requests_than_slots_are_all_answered_in_order(engine: TransformersEngine, prompt: Prompt) -> None:
    requests = [_request(prompt, f"第{n}个问题", new=n % 5 + 1) for n in range(23)]
    seen: list[Completion] = []
    completions = engine.generate_many(requests, done=seen.append)
    assert [len(c.token_ids) for c in completions] == [n % 5 + 1 for n in range(23)]
    assert seen == completions
    assert engine.health().running == engine.health().waiting == 0


def test_a_stop_string_ends_the_answer_before_it(engine: TransformersEngine, prompt: Prompt) -> None:
    whole = engine.generate_many([_request(prompt, QUESTIONS[3], new=40, temperature=1.0, seed=5)])[0]
    stop = whole.text[4:6]
    cut = engine.generate_many([_request(prompt, QUESTIONS[3], new=40, temperature=1.0, seed=5, stop=(stop,))])[0]
    assert (cut.text, cut.finish_reason) == (whole.text.split(stop)[0], "stop")


def test_the_end_token_ends_the_answer_and_is_not_part_of_it(tiny: Path, prompt: Prompt) -> None:
    request = _request(prompt, QUESTIONS[1], new=24)
    engine = TransformersEngine(tiny, None, prompt, max_context=256)
    engine.start()
    tokens = engine.generate_many([request])[0].token_ids
    engine.stop()
    end = tokens[5]
    ending = Prompt.from_base(tiny)
    ending.stop_ids = frozenset({end})
    engine = TransformersEngine(tiny, None, ending, max_context=256)
    engine.start()
    completion = engine.generate_many([request])[0]
    engine.stop()
    assert (completion.finish_reason, completion.token_ids) == ("stop", tokens[: tokens.index(end)])


def test_bad_requests_fail_alone(engine: TransformersEngine, prompt: Prompt) -> None:
    good = _request(prompt, QUESTIONS[0], new=4)
    bad = [replace(good, prompt_ids=()), replace(good, max_new_tokens=0), replace(good, max_new_tokens=1000)]
    completions = engine.generate_many([bad[0], good, bad[1], bad[2]])
    assert [c.finish_reason for c in completions] == ["error", "length", "error", "error"]
    assert "256 fit" in completions[3].error


def test_a_deadline_ends_waiting_and_running_requests(
    engine: TransformersEngine, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine._model is not None
    forward = engine._model.forward

    def slow(rows: Sequence[Rows]) -> list[Tensor]:
        time.sleep(0.01)
        return forward(rows)

    monkeypatch.setattr(engine._model, "forward", slow)
    past = _request(prompt, QUESTIONS[0], deadline=time.monotonic() - 1)
    soon = _request(prompt, QUESTIONS[1], new=200, deadline=time.monotonic() + 0.05)
    completions = engine.generate_many([past, soon])
    assert [c.finish_reason for c in completions] == ["deadline", "deadline"]
    assert completions[0].token_ids == ()
    assert len(completions[1].token_ids) < 200


def test_closing_a_stream_frees_its_slot_within_one_step(engine: TransformersEngine, prompt: Prompt) -> None:
    async def first_two() -> None:
        async with aclosing(engine.stream(_request(prompt, QUESTIONS[2], new=200))) as deltas:
            await anext(deltas)
            await anext(deltas)

    asyncio.run(first_two())
    engine.generate_many([_request(prompt, QUESTIONS[0], new=1)])
    assert engine.health().running == 0


def test_a_failing_step_is_told_and_the_engine_goes_on(
    engine: TransformersEngine, prompt: Prompt, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert engine._model is not None
    with monkeypatch.context() as patch:
        patch.setattr(engine._model, "forward", lambda _rows: 1 / 0)
        failed = engine.generate_many([_request(prompt, QUESTIONS[0]), _request(prompt, QUESTIONS[1])])
    assert {(c.finish_reason, c.error) for c in failed} == {("error", "ZeroDivisionError: division by zero")}
    assert "failed" in caplog.text
    assert engine.generate_many([_request(prompt, QUESTIONS[0], new=2)])[0].finish_reason == "length"


def test_an_answer_that_fails_does_not_take_its_neighbours_along(
    engine: TransformersEngine, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [_request(prompt, question, new=4) for question in QUESTIONS[:3]]
    wanted = engine.generate_many(requests)
    take = Answer.take

    def spoilt(answer: Answer, logits: Tensor) -> FinishReason | None:
        return take(answer, logits) if answer.request.id != "spoilt" or not answer.written else 1 // 0

    monkeypatch.setattr(Answer, "take", spoilt)
    found = engine.generate_many([requests[0], replace(requests[1], id="spoilt"), requests[2]])
    assert (found[0], found[2]) == (wanted[0], wanted[2])
    assert (found[1].finish_reason, found[1].error) == ("error", "ZeroDivisionError: integer division or modulo by zero")
    assert engine.health().running == 0


def test_the_time_without_work_is_not_a_step_age(
    engine: TransformersEngine, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the first question after a quiet hour would look as if the engine had been stuck for that long."""
    assert engine._model is not None
    forward = engine._model.forward
    ages: list[float] = []

    def looked_at(rows: Sequence[Rows]) -> list[Tensor]:
        ages.append(engine.health().last_step_age_s)
        return forward(rows)

    monkeypatch.setattr(engine._model, "forward", looked_at)
    engine._last_step -= 3600
    engine.generate_many([_request(prompt, QUESTIONS[0], new=3)])
    assert len(ages) > 1
    assert max(ages) < 60


def test_stop_lets_running_answers_end_then_cancels_and_refuses(tiny: Path, prompt: Prompt) -> None:
    engine = TransformersEngine(tiny, None, prompt, max_batch=1, max_context=256)
    short, long = _request(prompt, QUESTIONS[0], new=3), _request(prompt, QUESTIONS[0], new=200)
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


def test_health_tells_work_and_measured_speed(engine: TransformersEngine, prompt: Prompt) -> None:
    engine.generate_many([_request(prompt, QUESTIONS[0], new=5)])
    health = engine.health()
    assert health.alive
    assert health.ready
    assert health.last_step_age_s == 0.0  # nothing to do: no step is due
    assert health.prefill_tokens_per_s > 0
    assert health.decode_tokens_per_s > 0
    assert 0 < health.step_s < 5
    assert health.estimate(100, 10, max_batch=4).total_s > health.estimate(10, 10, max_batch=4).total_s


def test_one_thread_loads_and_computes(tiny: Path, prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second thread with an OpenMP team of its own would slow every step down."""
    seen: list[tuple[str, str]] = []
    for owner, name in ((transformers_engine, "load_model"), (SlotModel, "forward"), (SlotModel, "answer_loss")):
        original = getattr(owner, name)

        def noted(*args: object, _name: str = name, _original: Callable[..., object] = original) -> object:
            seen.append((_name, threading.current_thread().name))
            return _original(*args)

        monkeypatch.setattr(owner, name, noted)
    engine = TransformersEngine(tiny, None, prompt, max_context=256)
    engine.start()
    request = _request(prompt, QUESTIONS[0], new=3)
    engine.generate_many([request])
    loss, tokens = engine.answer_loss(request.prompt_ids, [0, 1] * (len(request.prompt_ids) // 2))
    assert loss > 0 < tokens
    with pytest.raises(IndexError):
        engine.answer_loss([10**9], [1])
    assert engine.generate_many([request])[0].finish_reason == "length"
    engine.stop()
    assert {name for name, _ in seen} == {"load_model", "forward", "answer_loss"}
    assert {thread for _, thread in seen} == {"engine"}


def test_a_base_that_is_missing_is_told_by_start(tmp_path: Path, prompt: Prompt) -> None:
    engine = TransformersEngine(tmp_path, None, prompt)
    with pytest.raises(UserError, match="no model there"):
        engine.start()
    assert not engine.health().alive
    assert engine.generate_many([_request(prompt, QUESTIONS[0])])[0].error == "the engine takes no requests"
