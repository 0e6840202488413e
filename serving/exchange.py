"""One question from its admission to its last event: tokens reserved and counted, metrics written, everything given back."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from opentelemetry import trace

from serving.answers import Ask, Began, Ended, Event, Piece, RefusedError
from serving.bodies import BadRequestError
from serving.gateway import Gateway
from serving.keys import Client
from serving.limits import Verdict


class TokensSpentError(Exception):
    """The client's tokens for this minute are spent."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(f"over the limit of {verdict.limit} tokens a minute")
        self.verdict = verdict


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    began: Began
    text: str
    ended: Ended


class Exchange:
    """``begin``, then either ``events`` or ``whole``, then ``close``."""

    def __init__(self, gateway: Gateway, ask: Ask, client: Client) -> None:
        self._gateway = gateway
        self._ask = ask
        self._client = client
        self._reserved = 0
        self._started = time.monotonic()
        self._ended: Ended | None = None
        self._failed = False
        self._written = 0
        self._events: AsyncGenerator[Event, None] | None = None
        self.began: Began | None = None

    async def begin(self) -> Began:
        """Reserve the tokens and wait until somebody begins to answer.

        Raises TokensSpentError, BadRequestError where a minute's tokens would never do, or RefusedError.
        """
        most = self._ask.prompt_tokens + self._ask.max_new_tokens
        verdict = await self._gateway.limits.reserve(self._client.name, most, self._tokens_per_minute)
        if not verdict.allowed:
            self._gateway.telemetry.limited("tokens")
            if most > verdict.limit:
                message = f"question and answer may take {most} tokens, {verdict.limit} a minute are allowed"
                raise BadRequestError(400, "too_many_tokens", message, "max_tokens")
            raise TokensSpentError(verdict)
        self._reserved = most
        self._events = self._gateway.ladder.answer(self._ask)
        try:
            began = await anext(self._events)
        except Exception as error:
            self._failed = True
            if isinstance(error, RefusedError):
                self._gateway.telemetry.refused(error.code)
            raise
        assert isinstance(began, Began)
        self.began = began
        _trace(source=began.source, reason=began.reason, prompt_tokens=began.prompt_tokens)
        return began

    async def events(self) -> AsyncIterator[Piece | Ended]:
        """What follows Began."""
        assert self._events
        async for event in self._events:
            if isinstance(event, Piece):
                self._written += event.tokens
            elif isinstance(event, Ended):
                self._ended = event
                self._written = event.completion_tokens
                _trace(completion_tokens=event.completion_tokens, finish_reason=event.finish_reason)
            if not isinstance(event, Began):
                yield event

    async def whole(self) -> Answer:
        """The answer in one piece. One that breaks off is replaced, since nothing of it was sent. Raises RefusedError."""
        began = self.began or await self.begin()
        answer = await self._collect(began)
        if answer.ended.error:
            spent = answer.ended.completion_tokens
            async with aclosing(self._gateway.ladder.instead(self._ask)) as instead:
                try:
                    first = await anext(instead)
                except RefusedError as refused:
                    self._gateway.telemetry.refused(refused.code)
                    raise
                assert isinstance(first, Began)
                text = ""
                async for event in instead:
                    if isinstance(event, Piece):
                        text += event.text
                    elif isinstance(event, Ended):
                        self._ended = replace(event, completion_tokens=spent)
            self.began = replace(first, prompt_tokens=began.prompt_tokens)
            assert self._ended
            return Answer(self.began, text, self._ended)
        return answer

    async def close(self) -> None:
        """Cancel what still runs, count what was used."""
        if self._events:
            await self._events.aclose()
        left = bool(self._events) and not (self._ended or self._failed)
        if left:
            self._gateway.telemetry.cancelled()
        if self._reserved:
            read = self.began.prompt_tokens if self.began else left * self._ask.prompt_tokens
            used = read + self._written
            await self._gateway.limits.settle(self._client.name, self._reserved, used, self._tokens_per_minute)
            self._reserved = 0
        if self.began and self._ended:
            finished = "error" if self._ended.error else self._ended.finish_reason
            seconds = time.monotonic() - self._started
            self._gateway.telemetry.answered(self.began.source, self.began.reason, finished, self.began.prompt_tokens, seconds)
            if finished == "deadline":
                self._gateway.telemetry.deadline_missed("answer")

    @property
    def _tokens_per_minute(self) -> int | None:
        return self._client.key.tokens_per_minute if self._client.key else None

    async def _collect(self, began: Began) -> Answer:
        text = ""
        async for event in self.events():
            if isinstance(event, Piece):
                text += event.text
        return Answer(began, text, self._ended or Ended("error", error="the answer broke off"))


def _trace(**attributes: str | int) -> None:
    """Put attributes on the request's span, where it is traced and not over yet (its client may have left)."""
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes({f"legalqa.{name}": value for name, value in attributes.items()})
