import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from legalqa.engine import continuous_engine
from legalqa.engine.answer import Answer
from legalqa.engine.continuous_engine import ContinuousEngine
from legalqa.engine.drafts import Drafts, Phrases
from legalqa.engine.interface import Completion, Delta, FinishReason, GenerationRequest
from legalqa.prompt import Prompt
from tests.legalqa.engine.conftest import QUESTIONS, asked
from tests.tiny import tiny_model


def _all(deltas: list[Delta]) -> Completion:
    return Completion(
        "".join(d.text for d in deltas), tuple(t for d in deltas for t in d.token_ids), deltas[-1].finish_reason or "stop"
    )


async def _stream(engine: ContinuousEngine, request: GenerationRequest) -> list[Delta]:
    return [delta async for delta in engine.stream(request)]


def test_nothing_is_left_to_compile_for_the_first_answers(tiny: Path) -> None:
    program = f"""
from pathlib import Path
from legalqa.engine import kernels
from legalqa.engine.interface import GenerationRequest
from legalqa.engine.continuous_engine import ContinuousEngine
from legalqa.prompt import Prompt
base = Path({str(tiny)!r})
engine = ContinuousEngine(base, None, Prompt.from_base(base), max_batch=2, max_context=64)
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


def test_phrases_save_steps_and_change_no_token(
    engine: ContinuousEngine, tiny: Path, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continuous_engine, "CHEAP_ROWS", 7)  # of a processor with VNNI
    requests = [asked(prompt, question) for question in QUESTIONS]
    plain = [engine.generate_many([request])[0] for request in requests]
    known = Phrases([completion.token_ids for completion in plain[::2]])  # of half of the answers; misleading for the rest
    guessing = ContinuousEngine(tiny, None, prompt, max_batch=4, max_context=256, phrases=known)
    guessing.start()
    assert [guessing.generate_many([request])[0] for request in requests] == plain
    assert guessing.generate_many(requests) == plain
    steps = [len(asyncio.run(_stream(engine, requests[0]))) for engine in (engine, guessing)]  # one delta a step
    drawn = asked(prompt, QUESTIONS[2], temperature=1.0, seed=11)
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
    monkeypatch.setattr(continuous_engine, "CHEAP_ROWS", 7)
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
        engine: ContinuousEngine, some: list[GenerationRequest], stop_ids: frozenset[int]
    ) -> tuple[list[Completion], torch.Tensor]:
        prompt.stop_ids = stop_ids
        steps.clear()
        completions = [engine.generate_many([request])[0] for request in some]
        return completions, torch.cat([written for _, written in steps])

    plain = ContinuousEngine(lively, None, prompt, max_batch=4, max_context=room)
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
    guessing = ContinuousEngine(lively, None, prompt, max_batch=4, max_context=room, phrases=Phrases(known))
    guessing.start()
    for some, stop_ids, (completions, logits) in ((requests, none, free), (requests, ends, by_token), (stopped, none, by_text)):
        guessed = one_by_one(guessing, some, stop_ids)
        assert guessed[0] == completions
        assert torch.equal(guessed[1], logits)
        assert any(len(written) > 2 for _, written in steps)
        assert any(len(written) <= guesses for guesses, written in steps)
        assert guessing.generate_many(some) == completions
    guessing.stop()
