import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, MambaConfig

from legalqa.engine.answer import Answer
from legalqa.engine.choosing import engine_for
from legalqa.engine.continuous_engine import ContinuousEngine
from legalqa.engine.interface import GenerationRequest
from legalqa.engine.static_engine import StaticEngine
from legalqa.problems import UserError
from legalqa.prompt import Prompt
from tests.legalqa.engine.conftest import QUESTIONS, asked
from tests.tiny import OWN_ATTENTION, tiny_model


@pytest.fixture(scope="module")
def static(tiny: Path, prompt: Prompt) -> Iterator[StaticEngine]:
    engine = StaticEngine(tiny, None, prompt, max_batch=2, max_context=256, weights="fp32")
    engine.start()
    yield engine
    engine.stop()


@pytest.mark.parametrize("name", OWN_ATTENTION)
def test_models_with_an_attention_of_their_own_are_answered_alike_alone_and_in_company(name: str, tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base", spread=0.2, dtype=torch.float32, **OWN_ATTENTION[name])
    prompt = Prompt.from_base(base)
    assert engine_for(base, 256) is StaticEngine
    engine = StaticEngine(base, None, prompt, max_batch=4, max_context=256, weights="fp32")
    engine.start()
    drawn = {"temperature": 1.0, "seed": 3}
    requests = [asked(prompt, question, new=12, **(drawn if n > 1 else {})) for n, question in enumerate(QUESTIONS[:5])]
    together = engine.generate_many(requests)
    alone = [engine.generate_many([request])[0] for request in requests]
    ids = requests[1].prompt_ids
    loss, tokens = engine.answer_loss(ids, [1] * len(ids))
    engine.stop()
    assert together == alone
    assert len({token for completion in alone for token in completion.token_ids}) > 20  # no model that says one thing for ever

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    written = plain.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=sorted(prompt.stop_ids))
    theirs = [token for token in written[0, len(ids) :].tolist() if token not in prompt.stop_ids]
    assert list(alone[1].token_ids) == theirs
    assert tokens == len(ids) - 1
    assert loss / tokens == pytest.approx(plain(torch.tensor([ids]), labels=torch.tensor([ids])).loss.item(), rel=1e-4)


def test_a_model_that_reads_its_layers_weights_itself_is_answered_in_floats_and_refused_in_int8(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base", spread=0.2, dtype=torch.float32, kind=MambaConfig)
    prompt = Prompt.from_base(base)
    assert engine_for(base, 256) is StaticEngine
    with pytest.raises(UserError, match="int8, and a model whose code reads the weights of its layers; expected bf16 or fp32"):
        StaticEngine(base, None, prompt, max_batch=4, max_context=256, weights="int8").start()
    engine = StaticEngine(base, None, prompt, max_batch=4, max_context=256, weights="fp32")
    engine.start()
    answers = engine.generate_many([asked(prompt, question, new=5) for question in QUESTIONS[:2]])
    engine.stop()
    assert [len(answer.token_ids) for answer in answers] == [5, 5]


def test_continuous_batches_are_the_choice_where_they_can_be(tiny: Path) -> None:
    assert engine_for(tiny, 256) is ContinuousEngine
    assert engine_for(tiny, 256, "static") is StaticEngine


def test_what_the_model_s_maker_says_of_sampling_does_not_count(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base", spread=0.2)
    prompt = Prompt.from_base(base)
    answers = []
    for settings in ("{}", '{"do_sample": true, "temperature": 9.0, "repetition_penalty": 5.0, "eos_token_id": 7}'):
        (base / "generation_config.json").write_text(settings, encoding="utf-8")
        engine = StaticEngine(base, None, prompt, max_context=256, weights="fp32")
        engine.start()
        answers.append(engine.generate_many([asked(prompt, QUESTIONS[1], new=20)])[0].token_ids)
        engine.stop()
    assert answers[0] == answers[1]


def test_who_comes_late_waits_for_the_next_batch(static: StaticEngine, prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    static.generate_many([asked(prompt, QUESTIONS[0], new=5)])  # tells the pace
    take, begun = static._take, threading.Event()

    def slow(*step: Any) -> None:
        take(*step)
        begun.set()
        time.sleep(0.01)

    monkeypatch.setattr(static, "_take", slow)
    order: list[str] = []
    first = threading.Thread(
        target=lambda: static.generate_many([asked(prompt, QUESTIONS[0], new=100)], lambda _: order.append("first"))
    )
    first.start()
    begun.wait()
    second = threading.Thread(
        target=lambda: static.generate_many([asked(prompt, QUESTIONS[1], new=1)], lambda _: order.append("second"))
    )
    second.start()
    while not static.health().waiting:
        time.sleep(0.001)
    health = static.health()
    first.join()
    second.join()
    assert order == ["first", "second"]
    assert health.running == 1
    assert not health.joins


def test_a_cancelled_answer_leaves_the_batch_and_its_neighbour_goes_on(static: StaticEngine, prompt: Prompt) -> None:
    async def written(question: str, new: int) -> int:
        return sum([len(delta.token_ids) async for delta in static.stream(asked(prompt, question, new=new))])

    async def both() -> tuple[int, int]:
        first = asyncio.create_task(written(QUESTIONS[2], 150))
        while not static.health().running:
            await asyncio.sleep(0.001)
        other = asyncio.create_task(written(QUESTIONS[0], 150))
        await asyncio.sleep(0)  # with the next one it makes the next batch
        async with aclosing(static.stream(asked(prompt, QUESTIONS[1], new=150))) as deltas:
            await anext(deltas)
            together = static.health().running
        while static.health().running > 1:
            await asyncio.sleep(0.001)
        await first
        return together, await other

    assert asyncio.run(both()) == (2, 150)


def test_reading_a_long_batch_is_progress(static: StaticEngine, prompt: Prompt) -> None:
    """A first step may take longer than an engine may be silent for."""
    layers = static._model.get_decoder().layers
    seen: list[float] = []
    hooks = [layer.register_forward_pre_hook(lambda *_: seen.append(static._last_step)) for layer in layers]
    static.generate_many([asked(prompt, QUESTIONS[0], new=1)])
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(layers) == 2
    assert seen[0] < seen[1]


def test_a_long_prompt_does_not_make_short_ones_read_its_padding(prompt: Prompt, tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base")
    engine = StaticEngine(base, None, prompt, max_batch=8, max_context=2048, weights="fp32")
    batches: list[list[int]] = []
    advance = engine._advance

    def noted(batch: list[Answer]) -> None:
        batches.append([len(answer.request.prompt_ids) for answer in batch])
        advance(batch)

    engine._advance = noted  # type: ignore[method-assign]
    engine.start()
    answers = engine.generate_many([GenerationRequest((5,) * size, 2) for size in (20, 20, 20, 1500, 20, 1500)])
    engine.stop()
    assert [len(answer.token_ids) for answer in answers] == [2] * 6
    assert batches == [[20, 20, 20], [1500, 20, 1500]]
