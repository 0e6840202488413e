"""The arms: who answers the test questions, each through the same prompt code and the same engine that serves."""

import random
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from legalqa.engine.interface import Completion, Engine, GenerationRequest
from legalqa.engine.loading import Weights
from legalqa.engine.transformers_engine import TransformersEngine
from legalqa.evaluation.predictions import Item, Prediction
from legalqa.knowledge.retrieval import Knowledge
from legalqa.prompt import Prompt
from legalqa.records import Message

BOILERPLATE = (
    "您好，根据您的描述，建议您先与对方协商解决；协商不成的，可以收集并保留好合同、转账记录、聊天记录等相关证据，依法向人民法院"
    "提起诉讼，维护自己的合法权益。具体情况建议咨询当地专业律师。"
)


def prediction(arm: str, item: Item, text: str, **more: object) -> Prediction:
    """An answer with what it will be scored against."""
    return Prediction.model_validate(
        {"arm": arm, "key": item.key, "question": item.question, "references": item.references, "area": item.area, "text": text}
        | more
    )


def local_model(
    arm: str,
    items: Sequence[Item],
    base: Path,
    adapter: Path | None,
    prompt: Prompt,
    weights: Weights,
    max_new_tokens: int,
    max_batch: int,
) -> list[Prediction]:
    """The base, with or without the adapter: greedy answers, and the loss on the first reference of each question."""
    engine = TransformersEngine(base, adapter, prompt, max_batch=max_batch, weights=weights)
    engine.start()
    try:
        losses = []
        for item in tqdm(items, f"{arm}: loss", leave=False):
            answer = Message(role="assistant", content=item.references[0])
            sample = prompt.training([*item.prompt, answer], engine.capabilities.max_context)
            losses.append(engine.answer_loss(sample.ids, sample.loss_mask))
        completions = generate(arm, engine, items, max_new_tokens)
    finally:
        engine.stop()
    return [
        _generated(arm, item, completion, answer_loss=loss, answer_tokens=tokens)
        for item, completion, (loss, tokens) in zip(items, completions, losses, strict=True)
    ]


def generate(arm: str, engine: Engine, items: Sequence[Item], max_new_tokens: int) -> list[Completion]:
    """Greedy answers of any engine to all questions, with a bar."""
    room = engine.capabilities.max_context - max_new_tokens
    requests = [
        GenerationRequest(engine.prompt.completion(item.prompt, room), max_new_tokens, messages=item.prompt) for item in items
    ]
    with tqdm(total=len(items), desc=f"{arm}: answers", leave=False) as bar:
        return engine.generate_many(requests, done=lambda _completion: bar.update())


def knowledge(arm: str, items: Sequence[Item], base: Knowledge) -> list[Prediction]:
    """The knowledge base alone, verbatim; nothing found is an empty answer."""
    answers = [base.answer(item.question) for item in items]
    return [
        prediction(arm, item, answer.text if answer else "", sources=(answer.source,) if answer else ())
        for item, answer in zip(items, answers, strict=True)
    ]


def floors(items: Sequence[Item], seed: int) -> dict[str, list[Prediction]]:
    """What a score is worth: another question's reference, and one paragraph that fits everything."""
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    other = {order[place]: order[place - 1] for place in range(len(order))}
    return {
        "floor_random": [prediction("floor_random", item, items[other[at]].references[0]) for at, item in enumerate(items)],
        "floor_boilerplate": [prediction("floor_boilerplate", item, BOILERPLATE) for item in items],
    }


def _generated(arm: str, item: Item, completion: Completion, **more: object) -> Prediction:
    return prediction(arm, item, completion.text, finish_reason=completion.finish_reason, error=completion.error, **more)
