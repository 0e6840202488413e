"""The ladder: the served model, another endpoint, a knowledge answer word for word, a fixed text. The first that can, answers.

A model's failure is covered silently only while nothing of its answer was sent; after that the answer ends with an error,
and no other text is put behind it.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from legalqa.engine.interface import GenerationRequest
from legalqa.params import ServeParams
from serving.admission import Ticket
from serving.agent import Agent, Findings
from serving.answers import Ask, Began, Ended, Event, Piece, Reason, RefusedError, Source
from serving.library import CANNED, LABEL_AT_END, Library
from serving.marking import Marker, loops
from serving.member import Member, Started
from serving.switch import Switch

log = logging.getLogger("legalqa.ladder")

AT_WORK: tuple[Reason, ...] = ("overload", "slow", "deadline")  # the engine has no time for it, and uses the cores


@dataclass(frozen=True)
class Rung:
    """Models of one kind; the one with the least work outstanding is asked first."""

    source: Source
    members: Sequence[Member]

    def reserve(self, ask: Ask, passage_tokens: int) -> "Place | None":
        """A place with the first member that has room for question and passages, else for the question alone."""
        for tokens in dict.fromkeys((passage_tokens, 0)):
            for member in sorted(self.members, key=lambda member: member.admission.tokens):
                if ticket := member.reserve(ask, tokens):
                    return Place(self, member, ticket, with_passages=tokens == passage_tokens)
        return None

    async def begin(self, ask: Ask, request: GenerationRequest, place: "Place | None" = None) -> Started | Reason:
        """The first member's answer whose text has begun, else the first reason why there is none.

        Who has reserved a ``place`` is asked first.
        """
        reasons: list[Reason] = []
        keeper = place.member if place else None
        for member in sorted(self.members, key=lambda member: (member is not keeper, member.admission.tokens)):
            begun = await member.begin(ask, request, place.ticket if place and member is keeper else None)
            if isinstance(begun, Started):
                return begun
            reasons.append(begun)
        return reasons[0] if reasons else "no_model"

    async def text(self, ask: Ask, place: "Place", request: GenerationRequest, go_on: Callable[[str], bool]) -> str:
        """A text that is not for the client, up to where ``go_on`` has seen enough of it; "" when there is none.

        It takes the ``place`` of the answer, which then has to find one again.
        """
        begun = await self.begin(ask, request, place)
        if not isinstance(begun, Started):
            return ""
        text = ""
        async with aclosing(begun.deltas()) as deltas:
            async for delta in deltas:
                text += delta.text
                if not go_on(text):
                    break
        return text


@dataclass(frozen=True)
class Place:
    """What is kept free for a question while things are looked up for it."""

    rung: Rung
    member: Member
    ticket: Ticket
    with_passages: bool


class Ladder:
    """Answers every question, or raises RefusedError where only the model's own answer would do."""

    def __init__(self, rungs: Sequence[Rung], library: Library, agent: Agent, switch: Switch, params: ServeParams) -> None:
        self.rungs = rungs
        self._library = library
        self._agent = agent
        self._switch = switch
        self._mark = params.mark_citations
        self._label = LABEL_AT_END if params.label_text else ""

    async def answer(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """One Began, pieces, one Ended. Close it to cancel. Raises RefusedError before the first event, or never."""
        mode = self._switch.mode
        if mode == "drain":
            raise RefusedError(503, "draining", "this server is being shut down; ask another one", 5.0)
        reason: Reason = "operator"
        if mode in ("auto", "llm_only"):
            rungs = self.rungs if ask.allow_degraded else self.rungs[:1]
            # Nothing is looked up for a model that would refuse: it would take the cores from the answers it is writing.
            places = (rung.reserve(ask, self._agent.room(ask)) for rung in rungs)
            place = next((place for place in places if place), None)
            findings, answering = Findings(), None
            try:
                if place and place.with_passages:
                    findings = await self._agent.gather(ask, partial(place.rung.text, ask, place))
                request = self._agent.request(ask, findings)
                for rung in rungs:
                    own = rung is self.rungs[0]
                    kept = place if place and place.rung is rung else None
                    begun = await rung.begin(ask if own else ask.with_time_for_another(), request, kept)
                    if isinstance(begun, Started):
                        answering = self._generated(ask, rung, begun, findings, reason, len(request.prompt_ids))
                        break
                    if own:
                        reason = begun
            finally:
                if place:
                    place.ticket.close()
            if answering:
                async with aclosing(answering) as events:
                    async for event in events:
                        yield event
                return
            if mode == "llm_only":
                raise self._only_the_model(reason)
        async with aclosing(self.without_model(ask, reason, canned=mode == "canned_only")) as events:
            async for event in events:
                yield event

    async def instead(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """The answer in place of one that broke off before anything of it was sent, as the switch allows now."""
        mode = self._switch.mode
        if mode == "llm_only":
            raise self._only_the_model("error")
        async with aclosing(self.without_model(ask, "error", canned=mode == "canned_only")) as events:
            async for event in events:
                yield event

    async def without_model(self, ask: Ask, reason: Reason, canned: bool = False) -> AsyncGenerator[Event, None]:
        """The last two rungs. Raises RefusedError when the client wants none of them."""
        if not ask.allow_degraded:
            raise RefusedError(503, reason, "the model can't answer now, and allow_degraded is false", self._retry_after_s)
        found = None if canned else await self._library.answer(ask.question, hurried=reason in AT_WORK)
        if found is None:
            yield Began("canned", "legalqa-canned", reason)
            yield Piece(CANNED)
        else:
            yield Began("knowledge", "legalqa-knowledge", reason, quotes=self._library.quotes(found.hits))
            yield Piece(found.text)
        yield Ended("stop", citations=self._library.citations(found.text) if found else [])

    def _only_the_model(self, reason: Reason) -> RefusedError:
        message = "the model can't answer now, and the operator allows no other answer"
        return RefusedError(503, reason, message, self._retry_after_s)

    @property
    def _retry_after_s(self) -> float:
        return min(member.admission.retry_after_s(member.backend.health()) for member in self.rungs[0].members)

    def _label_after(self, text: str) -> str:
        """Nothing where the text has it already, of another server of ours or of a model that imitates earlier answers."""
        return "" if text.rstrip().endswith(LABEL_AT_END.strip()) else self._label

    async def _generated(
        self, ask: Ask, rung: Rung, begun: Started, findings: Findings, reason: Reason, prompt_tokens: int
    ) -> AsyncGenerator[Event, None]:
        own = rung is self.rungs[0]
        marker = Marker(self._library.statutes, self._mark)
        tokens = told = 0
        async with aclosing(begun), aclosing(begun.deltas()) as deltas:
            yield Began(rung.source, begun.model, "" if own else reason, findings.steps, findings.quotes, prompt_tokens)
            async for delta in deltas:
                tokens += len(delta.token_ids)
                if text := marker.feed(delta.text):
                    yield Piece(text, tokens - told)  # and of text that was held back until now
                    told = tokens
                if loops(marker.raw):
                    log.warning("answer %s only repeated itself", ask.id)
                    if rest := marker.finish() + self._label_after(marker.raw):
                        yield Piece(rest)
                    yield Ended("error", tokens, [], "the model only repeated itself")
                    return
                if delta.finish_reason:
                    if rest := marker.finish() + self._label_after(marker.raw):
                        yield Piece(rest)
                    failed = delta.finish_reason in ("error", "refused", "cancelled")
                    error = (delta.error or "the model failed") if failed else ""
                    if failed:
                        log.warning("answer %s broke off: %s", ask.id, error)
                    yield Ended(delta.finish_reason, tokens, self._library.citations(marker.raw), error)
                    return
