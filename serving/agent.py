"""The agent: a small bounded loop that decides from the question what to look up before the model answers.

At most three look-ups, each with its own time, none of which can fail the answer. With `serve.agent: auto` the model asks for
them itself, where it was taught to call tools (serving.tools); else, and when it asks for none, scores decide: articles, past
answers, and an HTTP source of passages where one is configured and the first two found little. What was done stands in the
answer's `legalqa` object. The answer itself is always written from the prompt that the model was trained and scored with.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx

from legalqa.engine.interface import GenerationRequest
from legalqa.engine.text import writable
from legalqa.grounding import grounded
from legalqa.params import AROUND_PASSAGES, ServeParams
from legalqa.prompt import Prompt
from legalqa.records import Message
from serving import tools
from serving.answers import Ask, Quote, Step
from serving.library import Library, quote

log = logging.getLogger("legalqa.agent")

STEP_S = 1.0
STEPS = 3
DECIDE_S = 4.0
DECIDE_TOKENS = 128  # a call takes about forty

Write = Callable[[GenerationRequest, Callable[[str], bool]], Awaitable[str]]
"""Has the model write for a request, for as long as what it has written so far is worth going on."""


@dataclass(frozen=True)
class Findings:
    """What was looked up and which passages go into the prompt."""

    steps: Sequence[Step] = ()
    quotes: Sequence[Quote] = ()


class Agent:
    """Looks things up and renders the model's request."""

    def __init__(self, library: Library, prompt: Prompt | None, params: ServeParams, passages_url: str = "") -> None:
        self._library = library
        self._prompt = prompt
        self._params = params
        self._passages_url = passages_url
        self._http = httpx.AsyncClient(timeout=STEP_S)

    def room(self, ask: Ask) -> int:
        """Tokens to keep free for passages; where there is no room for them, "auto" does without."""
        return self._params.passage_tokens if ask.knowledge == "auto" else 0

    async def gather(self, ask: Ask, write: Write) -> Findings:
        """Run the loop; empty when the question's ``knowledge`` is "never". ``write`` has the model write."""
        if ask.knowledge == "never":
            return Findings()
        if self._params.agent == "auto" and self._prompt and tools.known_to(self._prompt):
            found = await self._by_calls(ask, self._prompt, write)
            if found.steps:
                return found
        return await self._by_scores(ask)

    async def _by_calls(self, ask: Ask, prompt: Prompt, write: Write) -> Findings:
        """The model decides what to look up, one call at a time, until it calls no more."""
        steps: list[Step] = []
        quotes: list[Quote] = []
        names = [name for name in tools.TOOLS if name != "passages_api" or self._passages_url]
        messages = [Message(role="system", content=tools.instructions(names)), Message(role="user", content=ask.question)]
        while len(steps) < STEPS:
            request = GenerationRequest(
                prompt.completion(messages), DECIDE_TOKENS, deadline=ask.deadline, id=ask.id, messages=tuple(messages)
            )
            try:
                async with asyncio.timeout(min(DECIDE_S, ask.seconds_left / 4)):
                    said = await write(request, tools.undecided)
            except TimeoutError:
                break
            call = tools.call_in(said, names)
            if call is None or (call.tool, call.query) in [(step.tool, step.query) for step in steps]:
                break
            found = await self._step(call.tool, call.query, self._called(call), ask, steps)
            quotes += [one for one in found if one not in quotes]
            messages += [Message(role="assistant", content=said), Message(role="user", content=tools.response(found))]
        return Findings(steps, self._near(ask, quotes))

    async def _by_scores(self, ask: Ask) -> Findings:
        steps: list[Step] = []
        quotes = await self._step("search_statutes", ask.question, self._statutes(ask.question), ask, steps)
        quotes += await self._step("search_answers", ask.question, self._answers(ask.question), ask, steps)
        if self._passages_url and not any(found.score >= self._params.auto_score for found in quotes):
            quotes += await self._step("passages_api", ask.question, self._api(ask.question), ask, steps)
        return Findings(steps, self._near(ask, quotes))

    async def _step(self, tool: str, query: str, work: Awaitable[list[Quote]], ask: Ask, steps: list[Step]) -> list[Quote]:
        began = time.monotonic()
        found = await self._within(work, ask)
        best = max((one.score for one in found), default=0.0)
        steps.append(Step(tool, query, len(found), best, round(time.monotonic() - began, 4)))
        return found

    def _near(self, ask: Ask, quotes: Sequence[Quote]) -> list[Quote]:
        least = self._params.auto_score if ask.knowledge == "auto" else 0.0
        return self._fitting(ask, sorted((one for one in quotes if one.score >= least), key=lambda one: -one.score))

    async def _called(self, call: tools.Call) -> list[Quote]:
        if call.tool == "get_article":
            return self._library.article(call.arguments["law"], call.arguments["number"])
        searches = {"search_statutes": self._statutes, "search_answers": self._answers, "passages_api": self._api}
        return await searches[call.tool](call.query)

    def request(self, ask: Ask, findings: Findings) -> GenerationRequest:
        """The model's request, its last question preceded by the passages found."""
        messages = grounded(ask.messages, [(one.title, one.text) for one in findings.quotes])
        return GenerationRequest(
            prompt_ids=self._prompt.completion(messages) if self._prompt else (),
            max_new_tokens=ask.max_new_tokens,
            temperature=ask.temperature,
            top_p=ask.top_p,
            seed=ask.seed,
            stop=ask.stop,
            deadline=ask.deadline,
            id=ask.id,
            messages=messages,
        )

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    def _fitting(self, ask: Ask, quotes: Sequence[Quote]) -> list[Quote]:
        """The first ones that fit into their own room, and beside question and answer into what the model can read."""
        chosen: list[Quote] = []
        room = self._params.passage_tokens
        if self._prompt:
            room = min(room, self._prompt.context - ask.prompt_tokens - AROUND_PASSAGES - ask.max_new_tokens)
        for one in quotes:
            size = len(self._prompt.encode(one.title + one.text)) if self._prompt else len(one.text)
            if len(chosen) < self._params.passages and size <= room:
                chosen.append(one)
                room -= size
        return chosen

    async def _within(self, work: Awaitable[list[Quote]], ask: Ask) -> list[Quote]:
        try:
            async with asyncio.timeout(min(STEP_S, ask.seconds_left / 4)):
                return await work
        except Exception as error:  # whatever it was: no look-up may fail the answer
            log.warning("a look-up for %s gave nothing: %s", ask.id, type(error).__name__)
            return []

    async def _statutes(self, question: str) -> list[Quote]:
        return [quote(hit) for hit in await self._library.search(question, self._params.passages, "statute")]

    async def _answers(self, question: str) -> list[Quote]:
        hits = await self._library.search(question, self._params.passages, "answer")
        return [quote(hit) for hit in hits if not hit.passage.stale]

    async def _api(self, question: str) -> list[Quote]:
        """POST {"query", "k"} -> {"passages": [{"title", "text", "source", "score"}]}."""
        body = {"query": question, "k": self._params.passages}
        response = (await self._http.post(self._passages_url, json=body)).raise_for_status()
        found = response.json()["passages"]
        quotes = []
        for one in found:
            title, text, source = (writable(str(one[name])) for name in ("title", "text", "source"))
            quotes.append(Quote("api", title, text, source, float(one["score"])))
        return [quote for quote in quotes if math.isfinite(quote.score)]
