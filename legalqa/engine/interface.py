"""What every engine takes and gives: requests in, tokens out as they come, health with the age of the last step.

Prompts are rendered in legalqa.prompt before they get here. An engine that runs a model itself reads ``prompt_ids``; one that
asks a server which renders by itself (any OpenAI-compatible API) reads ``messages``.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from legalqa.records import Message

if TYPE_CHECKING:
    from legalqa.prompt import Prompt

FinishReason = Literal["stop", "length", "cancelled", "deadline", "error", "refused"]
"""refused: another server will not answer this one request, whoever asks it again; it says nothing of the server."""


@dataclass(frozen=True)
class GenerationRequest:
    """One answer wanted. ``temperature`` 0 is greedy; ``deadline`` is a time of ``time.monotonic()``."""

    prompt_ids: Sequence[int]
    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    deadline: float | None = None
    id: str = ""
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Delta:
    """What one step added. ``text`` never holds half a character; the last delta carries ``finish_reason``."""

    text: str
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    error: str = ""


@dataclass(frozen=True)
class Completion:
    """A whole answer. ``finish_reason`` "error" or "refused" comes with ``error`` and the text that came before it."""

    text: str
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason = "stop"
    error: str = ""
    prompt_tokens: int = 0


@dataclass(frozen=True)
class Estimate:
    """Seconds from now until the first token and until the last one, by the engine's measured rates."""

    first_token_s: float
    total_s: float


@dataclass(frozen=True)
class Health:
    """The truth by progress: an engine with work whose last step is old is stalled, whatever else it says.

    ``queued_prompt_tokens`` wait to be read; the rates are moving averages in tokens a second, ``step_s`` of the seconds that
    a step took which only wrote, or would have taken, ``slowdown`` how many times their usual seconds the last steps took, or
    the present one does already (see `legalqa.engine.speed`); all 0 before the first measurement. Where none ``joins`` a batch
    that runs, those that wait begin together when it has ended.
    """

    alive: bool
    ready: bool
    running: int = 0
    waiting: int = 0
    last_step_age_s: float = 0.0
    queued_prompt_tokens: int = 0
    prefill_tokens_per_s: float = 0.0
    decode_tokens_per_s: float = 0.0
    step_s: float = 0.0
    slowdown: float = 0.0
    joins: bool = True

    def estimate(self, prompt_tokens: int, new_tokens: int, max_batch: int, free_s: float = 0.0) -> Estimate:
        """How long a request of this size would take behind what is already accepted. Rates unknown yet give 0.

        ``free_s`` are the seconds until it has a place in the batch, which who keeps count of all requests can tell.
        """
        if not (self.prefill_tokens_per_s and self.decode_tokens_per_s):
            return Estimate(0.0, 0.0)
        first = free_s + (self.queued_prompt_tokens + prompt_tokens) / self.prefill_tokens_per_s
        at_once = min(max_batch, self.running + self.waiting + 1)
        return Estimate(first, first + new_tokens * at_once / self.decode_tokens_per_s)


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do; ``max_batch`` requests run at once, ``max_context`` tokens fit prompt and answer."""

    max_batch: int
    max_context: int


class Engine(Protocol):
    """A model that answers. ``stream`` is the primitive; closing its iterator cancels the request within one step."""

    @property
    def prompt(self) -> "Prompt":
        """The renderer that belongs to this engine's model."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Limits of this engine."""
        ...

    def start(self) -> None:
        """Load the model and begin to take requests. Raises UserError when the model can't be loaded."""
        ...

    def stop(self, drain_s: float = 0.0) -> None:
        """Take no more requests, give the accepted ones ``drain_s`` seconds, then cancel what is left."""
        ...

    def stream(self, request: GenerationRequest) -> AsyncIterator[Delta]:
        """Yield deltas as they come; the last one has a finish_reason. Never raises for a model's failure."""
        ...

    def generate_many(
        self, requests: Sequence[GenerationRequest], done: Callable[[Completion], object] = lambda _completion: None
    ) -> list[Completion]:
        """Answer all, in order, one completion a request; an item that fails carries its error, the others don't.

        ``done`` is called with each, in order, for progress bars.
        """
        ...

    def health(self) -> Health:
        """A snapshot; cheap, never blocks on the model."""
        ...
