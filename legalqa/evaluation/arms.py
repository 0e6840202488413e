"""The arms: who answers the test questions. All of them get the same questions through the same prompt code and engine."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from legalqa.engine.choosing import engine_for
from legalqa.engine.interface import Completion, Engine, GenerationRequest
from legalqa.engine.local_engine import MAX_CONTEXT, LocalEngine
from legalqa.evaluation.external import external_engine
from legalqa.evaluation.predictions import Item, Prediction
from legalqa.grounding import grounded, nearest
from legalqa.knowledge.retrieval import Knowledge
from legalqa.params import EvaluateParams
from legalqa.prompt import Prompt
from legalqa.records import Message

BASE, TUNED, API, KNOWLEDGE = "base", "tuned", "api", "knowledge"
WITH_PASSAGES = "+knowledge"
PROBE_TOKENS = 32
BOILERPLATE = (
    "您好，根据您的描述，建议您先与对方协商解决；协商不成的，可以收集并保留好合同、转账记录、聊天记录等相关证据，依法向人民法院"
    "提起诉讼，维护自己的合法权益。具体情况建议咨询当地专业律师。"
)


def model_of(arm: str) -> str:
    """The model that answers in an arm: base of base+knowledge."""
    return arm.removesuffix(WITH_PASSAGES)


@contextmanager
def opened(model: str, base: Path, adapter: Path, prompt: Prompt, params: EvaluateParams) -> Iterator[Engine | None]:
    """The started engine of a model; None for the API when the environment names none."""
    engine: Engine | None
    if model == API:
        engine = external_engine(prompt, params.max_batch)
    else:
        adapter_or_not = adapter if model == TUNED else None
        kind = engine_for(base, MAX_CONTEXT)
        engine = kind(base, adapter_or_not, prompt, params.max_batch, weights=params.weights)
    if engine is None:
        print("LEGALQA_API_URL is not set: the arms of the external API are left out")
        yield None
        return
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def ask(arm: str, engine: Engine, items: Sequence[Item], knowledge: Knowledge, params: EvaluateParams) -> list[Prediction]:
    """Greedy answers to all questions, with passages in the prompt when the arm says so."""
    prompts = [item.prompt for item in items]
    sources: list[tuple[str, ...]] = [()] * len(items)
    if arm.endswith(WITH_PASSAGES):
        found = [
            nearest(
                knowledge, item.question, params.passages, params.passage_tokens, lambda text: len(engine.prompt.encode(text))
            )
            for item in items
        ]
        prompts = [
            grounded(prompt, [(p.title, p.text) for p in passages]) for prompt, passages in zip(prompts, found, strict=True)
        ]
        sources = [tuple(p.source for p in passages) for passages in found]
    completions = generate(arm, engine, prompts, params.max_new_tokens)
    return [
        prediction(arm, item, done.text, finish_reason=done.finish_reason, error=done.error, sources=of)
        for item, done, of in zip(items, completions, sources, strict=True)
    ]


def generate(what: str, engine: Engine, prompts: Sequence[Sequence[Message]], max_new_tokens: int) -> list[Completion]:
    """Greedy answers of an engine, in order, with a bar."""
    room = engine.capabilities.max_context - max_new_tokens
    requests = [
        GenerationRequest(engine.prompt.completion(messages, room), max_new_tokens, messages=tuple(messages))
        for messages in prompts
    ]
    with tqdm(total=len(requests), desc=what, leave=False) as bar:
        return engine.generate_many(requests, done=lambda _completion: bar.update())


def probe(model: str, engine: Engine, items: Sequence[Item]) -> list[Prediction]:
    """Short greedy answers to the general probe."""
    completions = generate(f"{model}: general probe", engine, [item.prompt for item in items], PROBE_TOKENS)
    return [
        prediction(model, item, done.text, finish_reason=done.finish_reason)
        for item, done in zip(items, completions, strict=True)
    ]


def with_losses(answers: Sequence[Prediction], items: Sequence[Item], engine: LocalEngine) -> list[Prediction]:
    """The same predictions with the model's loss on the first reference of each question."""
    found = []
    for answer, item in zip(tqdm(answers, f"{answers[0].arm}: loss", leave=False), items, strict=True):
        wanted = Message(role="assistant", content=item.references[0])
        sample = engine.prompt.training([*item.prompt, wanted], engine.capabilities.max_context)
        loss, tokens = engine.answer_loss(sample.ids, sample.loss_mask)
        found.append(answer.model_copy(update={"answer_loss": round(loss, 4), "answer_tokens": tokens}))
    return found


def quotations(items: Sequence[Item], base: Knowledge) -> list[Prediction]:
    """The knowledge base alone, verbatim; nothing found is an empty answer."""
    answers = [base.answer(item.question) for item in items]
    return [
        prediction(KNOWLEDGE, item, answer.text if answer else "", sources=(answer.source,) if answer else ())
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


def prediction(arm: str, item: Item, text: str, **more: object) -> Prediction:
    """An answer with what it will be scored against."""
    about = {"arm": arm, "key": item.key, "question": item.question, "references": item.references, "area": item.area}
    return Prediction.model_validate(about | {"text": text} | more)
