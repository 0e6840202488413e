"""Conversation: what convert writes, split divides, train learns and evaluate asks. JSONL in and out."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from legalqa.files import write_text
from legalqa.problems import Problem, UserError


class Message(BaseModel):
    """One turn. ``content`` holds at least one character that is not blank."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str

    @model_validator(mode="after")
    def _not_blank(self) -> "Message":
        if not self.content.strip():
            raise ValueError("content is blank")
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


def read_jsonl(path: Path | str) -> list[Conversation]:
    """Read conversations. Raises UserError naming every bad line and its reason."""
    conversations: list[Conversation] = []
    problems: list[Problem] = []
    text = Path(path).read_text(encoding="utf-8")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            conversations.append(Conversation.model_validate(json.loads(line, parse_constant=_refuse_constant)))
        except ValidationError as error:
            for detail in error.errors():
                at = ".".join(str(part) for part in detail["loc"])
                problems.append(Problem(f"{path} line {number}", f"{at}: {detail['msg']}" if at else detail["msg"]))
        except ValueError as error:
            problems.append(Problem(f"{path} line {number}", f"not one JSON object a line: {error}"))
    if problems:
        raise UserError(problems, f"{path}: {len(problems)} problem(s)")
    return conversations


def write_jsonl(path: Path | str, conversations: Iterable[Conversation]) -> None:
    """Write one conversation a line, UTF-8 unescaped, whole or not at all."""
    lines = [json.dumps(c.model_dump(exclude_defaults=True), ensure_ascii=False) + "\n" for c in conversations]
    write_text(path, "".join(lines))
