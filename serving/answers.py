"""What is asked and what comes back, whoever answers: events that every route turns into its own form."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from legalqa.records import Message

Source = Literal["tuned", "endpoint", "knowledge", "canned"]
"""Who answered: the served model, another endpoint, the knowledge index word for word, or the fixed text."""

Reason = Literal["", "operator", "no_model", "loading", "unavailable", "slow", "error", "breaker_open", "overload", "deadline"]
"""Why an answer does not come from the served model; "" when it does."""

Use = Literal["always", "auto", "never"]

RESERVE_S = 0.2  # kept for the knowledge answer that stands in for a model that is too slow
ANOTHER_S = 3.0


@dataclass(frozen=True)
class Ask:
    """One question with its wishes. ``deadline`` and ``first_token_by`` are times of ``time.monotonic()``; those that the
    operator allows (``patient_...``) may be later than those that the client does: its haste is not the model's slowness.
    """

    messages: tuple[Message, ...]
    max_new_tokens: int
    deadline: float
    first_token_by: float
    patient_deadline: float = 0.0
    patient_first_token_by: float = 0.0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    allow_degraded: bool = True
    knowledge: Use = "auto"
    prompt_tokens: int = 0
    id: str = ""

    @property
    def question(self) -> str:
        """The last user turn."""
        return next(message.content for message in reversed(self.messages) if message.role == "user")

    def with_time_for_another(self) -> "Ask":
        """For the next model, after one has used up the time for the first token: a little of its own, where there is any."""
        return replace(
            self, first_token_by=min(max(self.first_token_by, time.monotonic() + ANOTHER_S), self.deadline - RESERVE_S)
        )

    @property
    def seconds_left(self) -> float:
        """Until the deadline; never negative."""
        return max(self.deadline - time.monotonic(), 0.0)


@dataclass(frozen=True)
class Step:
    """One look-up of the agent: which tool with what, how many results, the best score, its seconds."""

    tool: str
    query: str
    found: int
    score: float
    seconds: float


@dataclass(frozen=True)
class Quote:
    """A passage with its source: an article, a past answer, or what another API gave."""

    kind: str
    title: str
    text: str
    source: str
    score: float


@dataclass(frozen=True)
class Began:
    """First event: who answers and on what ground. No text was sent before it."""

    source: Source
    model: str
    reason: Reason = ""
    steps: Sequence[Step] = ()
    quotes: Sequence[Quote] = ()
    prompt_tokens: int = 0

    @property
    def degraded(self) -> bool:
        """Whether something else than the served model answers."""
        return self.source != "tuned"


@dataclass(frozen=True)
class Piece:
    """Text as it comes, and the number of tokens it took."""

    text: str
    tokens: int = 0


@dataclass(frozen=True)
class Ended:
    """Last event. ``error`` is set when the model failed in the middle: the text so far is all there will be."""

    finish_reason: str
    completion_tokens: int = 0
    citations: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""


Event = Began | Piece | Ended


class RefusedError(Exception):
    """No answer at all: the switch drains, or the client wants no other answer than the model's."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
