"""Conversation: what convert writes, split divides, train learns and evaluate asks. JSONL in and out."""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from legalqa.files import written_aside
from legalqa.problems import Problem, UserError

NOT_BLANK = r"\S"
PLAINLY = {"string_pattern_mismatch": "is blank", "model_type": "is not one JSON object a line"}  # pydantic's errors in words


class Message(BaseModel):
    """One turn. ``content`` holds at least one character that is not blank, and nothing that UTF-8 can't write."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, StringConstraints(pattern=NOT_BLANK)]


class Conversation(BaseModel):
    """A question with the answer to learn, and what is needed to score it and to trace it back to the raw file.

    ``records`` are the data record numbers (first = 1) of the raw file behind it; ``references`` further best replies to the
    same question; ``group`` the question group that split keeps together; ``area`` the area of law guessed from the words.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    conversations: list[Message] = Field(min_length=2)
    records: list[int] = Field(default_factory=list)
    references: list[str] = Field(default_factory=list)
    group: str = ""
    area: str = ""

    @model_validator(mode="after")
    def _turns_alternate(self) -> "Conversation":
        turns = [m.role for m in self.conversations if m.role != "system"]
        if turns != ["user", "assistant"] * (len(turns) // 2) or not turns:
            raise ValueError(f"roles must alternate user, assistant and end with assistant, found {turns}")
        return self

    @property
    def question(self) -> str:
        """The last user turn."""
        return [m.content for m in self.conversations if m.role == "user"][-1]

    @property
    def answer(self) -> str:
        """The last assistant turn."""
        return self.conversations[-1].content

    @property
    def prompt(self) -> list[Message]:
        """All turns before the last answer: what a model is asked with."""
        return self.conversations[:-1]


def parse_line(line: str) -> Conversation:
    """One line of JSONL as a conversation. Raises ValidationError, which `line_problems` explains."""
    return Conversation.model_validate_json(line)


def line_problems(error: ValidationError) -> list[str]:
    """What is wrong with a line that `parse_line` refused, without its text."""
    found = []
    for detail in error.errors(include_url=False):
        at = ".".join(str(part) for part in detail["loc"])
        message = PLAINLY.get(detail["type"], detail["msg"])
        if detail["type"] == "string_type":
            message = f"a string is needed, found {_kind(detail['input'])}"
        found.append(f"{at}: {message}" if at else message)
    return found


def _kind(value: object) -> str:
    """A JSON value by its kind, not by what it says."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN, which is not JSON"
    return {"NoneType": "null", "int": "a number", "float": "a number", "dict": "an object", "list": "an array"}.get(
        type(value).__name__, "a boolean"
    )


def iter_jsonl(path: Path | str) -> Iterator[Conversation]:
    """Yield the conversations one by one. Raises UserError at the end, naming every bad line and its reasons."""
    problems: list[Problem] = []
    with Path(path).open(encoding="utf-8", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                yield parse_line(line)
            except ValidationError as error:
                problems += [Problem(f"{path} line {number}", reason) for reason in line_problems(error)]
    if problems:
        raise UserError(problems, f"{path}: {len(problems)} problem(s)")


def read_jsonl(path: Path | str) -> list[Conversation]:
    """Read conversations. Raises UserError naming every bad line and its reason."""
    return list(iter_jsonl(path))


def write_jsonl(path: Path | str, conversations: Iterable[Conversation]) -> None:
    """Write one conversation a line, UTF-8 unescaped, whole or not at all."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as stream:
        for conversation in conversations:
            stream.write(encode(conversation.model_dump(exclude_defaults=True)) + "\n")
