"""An engine without a model, for tests: says what it is told to, at the speed and with the faults it is told to have."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal

from legalqa.engine.interface import Capabilities, Completion, Delta, FinishReason, GenerationRequest, Health
from legalqa.engine.speed import Speed
from legalqa.prompt import Prompt

Fault = Literal["", "error", "stall", "dead"]


class FakeEngine:
    """``reply`` writes the answer; ``seconds_a_token`` and ``fault`` may be changed while it runs.

    Faults: "error" ends an answer with an error after ``fault_after`` tokens, "stall" stops there without a word until the
    fault is taken away, "dead" also says so in its health.
    """

    def __init__(
        self,
        prompt: Prompt,
        reply: Callable[[GenerationRequest], str] = lambda _request: "依法可以主张权利。",
        seconds_a_token: float = 0.0,
        max_batch: int = 16,
    ) -> None:
        self.prompt = prompt
        self.reply = reply
        self.seconds_a_token = seconds_a_token
        self.fault: Fault = ""
        self.fault_after = 0
        self.requests: list[GenerationRequest] = []
        self.cancelled = 0
        self._max_batch = max_batch
        self._ready = False
        self._running = 0
        self._last_step = time.monotonic()
        self._speed = Speed()

    @property
    def capabilities(self) -> Capabilities:
        """Limits as of a small model."""
        return Capabilities(max_batch=self._max_batch, max_context=self.prompt.context)

    def start(self) -> None:
        """Be ready."""
        self._ready = True

    def stop(self, drain_s: float = 0.0) -> None:
        """Be not ready."""
        self._ready = False

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Delta]:
        """Yield the reply character by character, with the ids of each."""
        self.requests.append(request)
        self._running += 1
        self._last_step = time.monotonic()
        reason: FinishReason | None = None
        try:
            for number, character in enumerate(self.reply(request)):
                while self.fault in ("stall", "dead") and number >= self.fault_after:
                    await asyncio.sleep(0.01)
                if self.fault == "error" and number >= self.fault_after:
                    reason = "error"
                elif request.deadline is not None and time.monotonic() >= request.deadline:
                    reason = "deadline"
                elif number >= request.max_new_tokens:
                    reason = "length"
                if reason is not None:
                    break
                if alone := self._running == 1:  # the pace of one answer says it
                    self._speed.begin(0, 1)
                await asyncio.sleep(self.seconds_a_token)
                self._last_step = time.monotonic()
                if alone:
                    self._speed.end(1)
                yield Delta(character, tuple(self.prompt.encode(character)))
            reason = reason or "stop"
            yield Delta("", (), reason, "told to fail" if reason == "error" else "")
        finally:
            self._running -= 1
            self.cancelled += reason is None
            if not self._running:
                self._speed.rest()

    def generate_many(
        self, requests: Sequence[GenerationRequest], done: Callable[[Completion], object] = lambda _completion: None
    ) -> list[Completion]:
        """Answer one after the other."""
        completions = []
        for request in requests:
            completions.append(asyncio.run(self._whole(request)))
            done(completions[-1])
        return completions

    def health(self) -> Health:
        """Dead when told so; else by the last step."""
        alive = self._ready and self.fault != "dead"
        age = time.monotonic() - self._last_step if self._running else 0.0
        return Health(
            alive=alive,
            ready=alive,
            running=self._running,
            last_step_age_s=age,
            step_s=self.seconds_a_token,
            slowdown=self._speed.slowdown,
        )

    async def _whole(self, request: GenerationRequest) -> Completion:
        deltas = [delta async for delta in self.stream(request)]
        tokens = tuple(token for delta in deltas for token in delta.token_ids)
        text = "".join(delta.text for delta in deltas)
        return Completion(text, tokens, deltas[-1].finish_reason or "stop", deltas[-1].error, len(request.prompt_ids))
