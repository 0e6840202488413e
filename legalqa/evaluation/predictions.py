"""What an arm answered, kept before anything is scored: one JSON object a line."""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from legalqa.engine.interface import FinishReason
from legalqa.files import write_text
from legalqa.records import Conversation, Message


class Item(BaseModel):
    """A test question: the turns to answer, every reference, the area of law."""

    model_config = ConfigDict(frozen=True)

    key: str
    prompt: tuple[Message, ...]
    references: tuple[str, ...]
    area: str = ""

    @property
    def question(self) -> str:
        """The last user turn."""
        return self.prompt[-1].content


class Prediction(BaseModel):
    """One arm's answer to one question. ``answer_loss`` in nats over the ``answer_tokens`` of the first reference."""

    model_config = ConfigDict(frozen=True)

    arm: str
    key: str
    question: str
    references: tuple[str, ...]
    area: str = ""
    text: str
    finish_reason: FinishReason = "stop"
    error: str = ""
    sources: tuple[str, ...] = ()
    answer_loss: float = 0.0
    answer_tokens: int = 0


def items(conversations: Sequence[Conversation]) -> list[Item]:
    """One item a question; several replies to one question are its references, in the order of the file."""
    found: dict[str, Item] = {}
    for conversation in conversations:
        prompt = tuple(conversation.prompt)
        key = "\n".join(message.content for message in prompt)
        known = found[key].references if key in found else ()
        references = dict.fromkeys((*known, conversation.answer, *conversation.references))
        found[key] = Item(key=key, prompt=prompt, references=tuple(references), area=conversation.area)
    return list(found.values())


def spread(found: Sequence[Item], number: int | None) -> list[Item]:
    """At most so many questions, evenly over the file, so that its parts (sources, areas) keep their shares; None: all."""
    if number is None or number >= len(found):
        return list(found)
    return [found[at * len(found) // number] for at in range(number)]


Answers = dict[str, list[Prediction]]
"""arm -> its predictions; all arms answer the same questions in the same order."""


def read(path: Path) -> list[Prediction]:
    """What ``write`` wrote, in order."""
    with path.open(encoding="utf-8") as stream:
        return [Prediction.model_validate_json(line) for line in stream]


def write(path: Path, answers: Answers) -> None:
    """Write all of them, arm after arm, whole or not at all."""
    every = (prediction for of in answers.values() for prediction in of)
    lines = (json.dumps(p.model_dump(exclude_defaults=True), ensure_ascii=False) + "\n" for p in every)
    write_text(path, "".join(lines))
