"""The agent: a small bounded loop that decides from the question what to look up before the model answers.

At most three look-ups, each with its own time, none of which can fail the answer: articles, past answers, and an HTTP source
of passages where one is configured and the first two found little. What it did stands in the answer's `legalqa` object.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx

from legalqa.engine.interface import GenerationRequest
from legalqa.grounding import grounded
from legalqa.params import ServeParams
from legalqa.prompt import Prompt
from serving.answers import Ask, Quote, Step
from serving.library import Library, quote

log = logging.getLogger("legalqa.agent")

STEP_S = 1.0


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

    async def gather(self, ask: Ask) -> Findings:
        """Run the loop; empty when the question's ``knowledge`` is "never"."""
        if ask.knowledge == "never":
            return Findings()
        steps: list[Step] = []
        quotes: list[Quote] = []
        tools: list[tuple[str, Callable[[str], Awaitable[list[Quote]]]]] = [
            ("search_statutes", self._statutes),
            ("search_answers", self._answers),
        ]
        if self._passages_url:
            tools.append(("passages_api", self._api))
        for name, tool in tools:
            if name == "passages_api" and any(found.score >= self._params.auto_score for found in quotes):
                break
            began = time.monotonic()
            found = await self._within(tool(ask.question), ask)
            best = max((one.score for one in found), default=0.0)
            steps.append(Step(name, ask.question, len(found), best, round(time.monotonic() - began, 4)))
            quotes += found
        least = self._params.auto_score if ask.knowledge == "auto" else 0.0
        near = sorted((one for one in quotes if one.score >= least), key=lambda one: -one.score)
        return Findings(steps, self._fitting(near))

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

    def _fitting(self, quotes: Sequence[Quote]) -> list[Quote]:
        chosen: list[Quote] = []
        room = self._params.passage_tokens
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
        except (TimeoutError, httpx.HTTPError, ValueError, KeyError, TypeError) as error:
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
        return [Quote("api", str(one["title"]), str(one["text"]), str(one["source"]), float(one["score"])) for one in found]
