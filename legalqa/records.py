"""Conversation: what convert writes, split divides, train learns and evaluate asks. JSONL in and out."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from legalqa.files import written_aside
from legalqa.problems import Problem, UserError

_SURROGATE = re.compile("[\ud800-\udfff]")


class Message(BaseModel):
    """One turn. ``content`` holds at least one character that is not blank, and nothing that UTF-8 can't write."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str

    @model_validator(mode="after")
    def _not_blank(self) -> "Message":
        if not self.content.strip():
            raise ValueError("content is blank")
        if not self.content.isascii() and _SURROGATE.search(self.content):
            raise ValueError("content holds half of a surrogate pair, which UTF-8 can't write")
        return self


class Conversation(BaseModel):
    """A question with the answer to learn, and what is needed to score it and to trace it back to the raw file.

    ``records`` are the data record numbers (first = 1) of the raw file behind it; ``references`` further best replies to the
    same question; ``group`` the question group that split keeps together; ``area`` the area of law guessed from the words.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    conversations: list[Message] = Field(min_length=2)
    records: list[int] = []
    references: list[str] = []
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


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def parse_line(line: str) -> Conversation:
    """One line of JSONL as a conversation. Raises ValueError (pydantic's is one), which `line_problems` explains."""
    return Conversation.model_validate(json.loads(line, parse_constant=_refuse_constant))


def line_problems(error: ValueError) -> list[str]:
    """What is wrong with a line that `parse_line` refused, without its text."""
    if not isinstance(error, ValidationError):
        return [f"not one JSON object a line: {error}"]
    found = [(".".join(str(part) for part in detail["loc"]), detail["msg"]) for detail in error.errors()]
    return [f"{at}: {message}" if at else message for at, message in found]


def iter_jsonl(path: Path | str) -> Iterator[tuple[str, Conversation]]:
    """Yield each line with its conversation. Raises UserError at the end, naming every bad line and its reasons."""
    problems: list[Problem] = []
    with Path(path).open(encoding="utf-8", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                conversation = parse_line(line)
            except ValueError as error:
                problems += [Problem(f"{path} line {number}", reason) for reason in line_problems(error)]
            else:
                yield line, conversation
    if problems:
        raise UserError(problems, f"{path}: {len(problems)} problem(s)")


def read_jsonl(path: Path | str) -> list[Conversation]:
    """Read conversations. Raises UserError naming every bad line and its reason."""
    return [conversation for _, conversation in iter_jsonl(path)]


def write_jsonl(path: Path | str, conversations: Iterable[Conversation]) -> None:
    """Write one conversation a line, UTF-8 unescaped, whole or not at all."""
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as stream:
        for conversation in conversations:
            stream.write(json.dumps(conversation.model_dump(exclude_defaults=True), ensure_ascii=False) + "\n")
