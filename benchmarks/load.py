"""A load client for OpenAI-compatible servers, on loopback: closed loop (so many at once) and open loop (Poisson arrivals).

Open loop matters: a client that waits for each answer sends less when the server is slow, and so never sees the queue.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import httpx

NEW_TOKENS = 64
PLAIN: dict[str, object] = {"knowledge": "never"}  # rivals look nothing up


@dataclass
class Sample:
    """One request: ``status`` 0 when there was no whole answer at all; times in seconds, ``at`` since the run began."""

    at: float
    status: int = 0
    source: str = ""
    reason: str = ""
    text: str = ""
    finish: str = ""
    tokens: int = 0
    first_s: float = 0.0
    whole_s: float = 0.0
    gaps: list[float] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Answered by the model, whole."""
        return self.status == 200 and self.source == "tuned" and bool(self.finish)


class Client:
    """Asks one server. ``extra`` goes into every body, for what only one server understands."""

    def __init__(
        self, url: str, model: str, max_tokens: int, extra: dict[str, object] | None = None, timeout_s: float = 180.0
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, timeout=timeout_s, limits=httpx.Limits(max_connections=None), trust_env=False
        )
        self._body = {"model": model, "max_tokens": max_tokens, "temperature": 0, "stream": True} | (extra or {})
        self._body["stream_options"] = {"include_usage": True}
        self._began = time.monotonic()

    async def leave(self, question: str) -> None:
        """Ask, and go away with the first event."""
        body = self._body | {"messages": [{"role": "user", "content": question}]}
        async with self._http.stream("POST", "/v1/chat/completions", json=body) as response:
            async for _ in response.aiter_lines():
                return

    async def ask(self, question: str, **more: object) -> Sample:
        """Ask and read the stream to its end; ``more`` goes into the body."""
        begun = last = time.monotonic()
        sample = Sample(begun - self._began)
        body = self._body | {"messages": [{"role": "user", "content": question}]} | more
        try:
            async with self._http.stream("POST", "/v1/chat/completions", json=body) as response:
                sample.source = response.headers.get("x-answer-source", "")
                sample.reason = response.headers.get("x-degraded-reason", "")
                async for line in response.aiter_lines():
                    if not line.startswith("data: ") or line == "data: [DONE]":
                        continue
                    event = json.loads(line[6:])
                    if "error" in event:
                        break
                    now = time.monotonic()
                    choice = (event.get("choices") or [{}])[0]
                    if text := (choice.get("delta") or {}).get("content"):
                        sample.gaps += [now - last] if sample.first_s else []
                        sample.first_s = sample.first_s or now - begun
                        last = now
                        sample.text += text
                    sample.finish = choice.get("finish_reason") or sample.finish
                    sample.tokens = (event.get("usage") or {}).get("completion_tokens", sample.tokens)
                if sample.finish or response.status_code != 200:
                    sample.status = response.status_code
        except httpx.HTTPError:
            sample.status = 0
        sample.whole_s = time.monotonic() - begun
        return sample

    async def closed_loop(self, questions: Sequence[str], at_once: int) -> tuple[list[Sample], float]:
        """All questions, ``at_once`` at a time; the samples and the seconds it took."""
        waiting = list(reversed(questions))
        samples: list[Sample] = []

        async def one() -> None:
            while waiting:
                samples.append(await self.ask(waiting.pop()))

        begun = time.monotonic()
        await asyncio.gather(*(one() for _ in range(at_once)))
        return samples, time.monotonic() - begun

    async def open_loop(
        self, questions: Sequence[str], per_s: float, seconds: float, during: Callable[[], Awaitable[object]] | None = None
    ) -> list[Sample]:
        """Poisson arrivals at ``per_s`` for ``seconds``, or for as long as ``during`` runs; then wait for all answers.

        The questions come in turn, over and over.
        """
        chance = random.Random(0)
        self._began = time.monotonic()
        asked: list[asyncio.Task[Sample]] = []
        work = asyncio.ensure_future(during()) if during else None
        while (work is not None and not work.done()) or (work is None and time.monotonic() - self._began < seconds):
            asked.append(asyncio.create_task(self.ask(questions[len(asked) % len(questions)])))
            await asyncio.sleep(chance.expovariate(per_s))
        if work:
            await work
        return list(await asyncio.gather(*asked))

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()


def quantile(values: Sequence[float], share: float) -> float:
    """The value under which ``share`` of the values lie; 0 without values."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def tokens_per_s(samples: Sequence[Sample], seconds: float) -> float:
    """Tokens written a second, over all."""
    return sum(sample.tokens for sample in samples) / seconds
