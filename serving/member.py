"""One model among those that may answer: its door, its breaker, and how an answer of it begins and goes on."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from legalqa.engine.interface import Capabilities, Delta, GenerationRequest, Health
from serving.admission import Admission, Ticket
from serving.answers import Ask, Reason
from serving.breaker import Breaker, Permit
from serving.engine_client import EngineLostError
from serving.telemetry import Telemetry

log = logging.getLogger("legalqa.ladder")

LATE = 0.5  # a first token after this share of the time allowed for it counts as slow
PACE_TOKENS = 8  # so many tokens show the pace


class Backend(Protocol):
    """Where the tokens come from."""

    def unavailable(self) -> Reason:
        """Why it can't be asked now; "" when it can."""
        ...

    def health(self) -> Health:
        """Its last known health."""
        ...

    def capabilities(self) -> Capabilities:
        """Its limits."""
        ...

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """Deltas; raises EngineLostError when it goes away."""
        ...


@dataclass
class Started:
    """An answer whose first text is there."""

    model: str
    first: list[Delta]
    rest: AsyncGenerator[Delta, None]
    watch: "Watch"

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """All deltas; the last one has a finish_reason, "error" when the model was lost. Close it to cancel."""
        try:
            async with aclosing(self.rest) as rest:
                for delta in self.first:
                    yield delta
                    if delta.finish_reason:
                        return
                async for delta in rest:
                    self.watch.saw(delta)
                    yield delta
                    if delta.finish_reason:
                        return
                self.watch.permit.failed()
                yield Delta("", finish_reason="error", error="the answer broke off")
        except EngineLostError as error:
            self.watch.permit.failed()
            yield Delta("", finish_reason="error", error=str(error))
        finally:
            self.watch.close()

    async def aclose(self) -> None:
        """Cancel it, also where no delta was asked for."""
        await self.rest.aclose()
        self.watch.close()


class Watch:
    """What one answer tells: the door about progress, the breaker about the model, the metrics about both."""

    def __init__(self, ask: Ask, ticket: Ticket, permit: Permit, telemetry: Telemetry) -> None:
        self.permit = permit
        self._ask = ask
        self._ticket = ticket
        self._telemetry = telemetry
        self._begun = self._last = time.monotonic()
        self._first_at = 0.0
        self._tokens = 0
        self._said = False  # an answer without a word is a failure
        self.slow = False  # at this pace the answer would not be whole before its deadline

    def saw(self, delta: Delta) -> None:
        """Count a delta and judge the pace."""
        now = time.monotonic()
        self._said = self._said or bool(delta.text.strip())
        if delta.token_ids:
            if not self._tokens:
                self._first_at = now
                self._telemetry.first_token(now - self._begun, len(delta.token_ids))
            else:
                self._telemetry.next_tokens(now - self._last, len(delta.token_ids))
            self._last = now
            self._tokens += len(delta.token_ids)
            self._ticket.wrote(len(delta.token_ids))
            if self._tokens >= PACE_TOKENS and not self.slow:
                pace = (now - self._first_at) / (self._tokens - 1)
                self.slow = now + pace * self._ticket.unwritten > max(self._ask.deadline, self._ask.patient_deadline)
                if self.slow:
                    self.permit.succeeded(slow=True)
        if delta.finish_reason == "error" or (
            delta.finish_reason == "deadline" and self._ask.deadline >= self._ask.patient_deadline
        ):
            self.permit.failed()
        elif delta.finish_reason in ("refused", "deadline"):
            self.permit.withdrawn()
        elif delta.finish_reason in ("stop", "length") and self._said:
            self.permit.succeeded(slow=self.late)
            self._ticket.ended(cut=delta.finish_reason == "length")

    @property
    def late(self) -> bool:
        """Whether the first token took too much of the time that the operator allows for it, or still does."""
        allowed = max(self._ask.first_token_by, self._ask.patient_first_token_by) - self._begun
        return (self._first_at or time.monotonic()) - self._begun > LATE * allowed

    def close(self) -> None:
        """Give everything back. An answer that has reported nothing was cancelled by its client."""
        self._ticket.close()
        self.permit.withdrawn()


class Member:
    """A backend with its door and its breaker. ``model`` is the name in its answers, ``name`` that in metrics and logs."""

    def __init__(
        self, name: str, model: str, backend: Backend, breaker: Breaker, admission: Admission, telemetry: Telemetry
    ) -> None:
        self.name = name
        self.model = model
        self.backend = backend
        self.breaker = breaker
        self.admission = admission
        self._telemetry = telemetry

    def reserve(self, ask: Ask, passage_tokens: int) -> Ticket | None:
        """A place for the question while passages of up to so many tokens are looked up; None when it would refuse both."""
        if self.backend.unavailable() or self.breaker.state in ("open", "forced_open"):
            return None
        prompt_tokens = ask.prompt_tokens + passage_tokens
        if not self.admission.fits(prompt_tokens, self._new_tokens(prompt_tokens, ask.max_new_tokens), *self._by(ask)):
            return None
        return self.admission.keep(ask.prompt_tokens, ask.max_new_tokens)

    async def begin(self, ask: Ask, request: GenerationRequest, reserved: Ticket | None = None) -> Started | Reason:
        """Start an answer and wait for its first text; else say why there is none, with nothing left running or reserved."""
        if reserved:
            reserved.close()
        if reason := self.backend.unavailable():
            return reason
        if ask.first_token_by <= time.monotonic():
            return "deadline"
        if len(request.prompt_ids) >= (most := self.backend.capabilities().max_context):
            log.warning("%s reads %d tokens at most, %s has %d", self.name, most - 1, ask.id, len(request.prompt_ids))
            return "error"
        request = replace(request, max_new_tokens=self._new_tokens(len(request.prompt_ids), request.max_new_tokens))
        probing = self.breaker.state == "half_open"
        ticket = self.admission.admit(len(request.prompt_ids), request.max_new_tokens, *self._by(ask))
        self._telemetry.admission("admitted" if ticket else "refused")
        if not ticket:
            return "overload"
        permit = self.breaker.acquire()
        if not permit:
            ticket.close()
            return "breaker_open"
        watch = Watch(ask, ticket, permit, self._telemetry)
        deltas = self.backend.stream(request)
        begun = False
        try:
            async with asyncio.timeout(max(ask.first_token_by - time.monotonic(), 0.0)):
                first = await self._first(deltas, watch, PACE_TOKENS if probing else 1)
            if first and first[-1].finish_reason == "refused":
                log.warning("%s refused %s", self.name, ask.id)  # its words may be the question's
                return "error"
            if not any(delta.text.strip() for delta in first):
                raise EngineLostError((first and first[-1].error) or "it ended without a word")
            if probing and watch.slow:
                return "deadline"
            begun = True
            return Started(self.model, first, deltas, watch)
        except TimeoutError:
            if ask.first_token_by >= ask.patient_first_token_by:
                permit.failed()
            elif watch.late:
                permit.succeeded(slow=True)
            self._telemetry.deadline_missed("first_token")
            return "deadline"
        except EngineLostError as error:
            permit.failed()
            log.warning("%s gave no answer to %s: %s", self.name, ask.id, error)
            return self.backend.unavailable() or "error"
        finally:
            if not begun:
                watch.close()
                await deltas.aclose()

    def _new_tokens(self, prompt_tokens: int, wanted: int) -> int:
        """As many of those wanted as the context has room for."""
        return max(min(wanted, self.backend.capabilities().max_context - prompt_tokens), 1)

    def _by(self, ask: Ask) -> tuple[float, float, Health, int]:
        """What the door goes by, beside the tokens."""
        return ask.first_token_by, ask.deadline, self.backend.health(), self.backend.capabilities().max_batch

    async def _first(self, deltas: AsyncGenerator[Delta, None], watch: Watch, tokens: int) -> list[Delta]:
        """Deltas until there is text that is not blank and ``tokens`` tokens, or the end."""
        first: list[Delta] = []
        async for delta in deltas:
            watch.saw(delta)
            first.append(delta)
            enough = sum(len(delta.token_ids) for delta in first) >= tokens and any(delta.text.strip() for delta in first)
            if enough or delta.finish_reason:
                break
        return first
