"""Any OpenAI-compatible server over HTTP: an external API, or vLLM, SGLang, llama.cpp with the model of this project.

With ``own_prompts`` the server gets token ids at /completions, rendered as in training; else it gets messages at
/chat/completions and renders them by itself. The answer's token ids are those of our own tokenizer, good for counting; without
one each piece of the answer counts as a token.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import httpx

from legalqa.engine.interface import Capabilities, Completion, Delta, FinishReason, GenerationRequest, Health
from legalqa.engine.text import writable
from legalqa.problems import Problem, UserError
from legalqa.prompt import Prompt

READ_TIMEOUT_S = 60.0  # between two pieces of an answer
RETRY_STATUS = frozenset({408, 429, 500, 502, 503, 504})
REQUEST_STATUS = frozenset({400, 413, 422})  # the request is at fault, not the server
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 20.0
UNKNOWN_CONTEXT = 1 << 20  # without a tokenizer of our own only the server knows what fits
NO_TOKEN = -1
MOST_WORDS = 200  # characters of another server's message


class _RefusedError(Exception):
    """The server said no: before the first token, or in the middle, when its filter of contents objects.

    ``pause_s`` is how long it asks to wait, None when it does not say.
    """

    def __init__(
        self, message: str, worth_retrying: bool = False, pause_s: float | None = None, by_request: bool = False
    ) -> None:
        super().__init__(message)
        self.worth_retrying = worth_retrying
        self.pause_s = pause_s
        self.by_request = by_request


class OpenAIEngine:
    """``url`` ends with the API's version, as in http://host:8000/v1. ``retries`` happen only before the first token."""

    def __init__(
        self,
        url: str,
        model: str,
        prompt: Prompt | None,
        api_key: str = "",
        own_prompts: bool = False,
        max_batch: int = 8,
        retries: int = 0,
    ) -> None:
        self._prompt = prompt
        self._url = url.rstrip("/") + ("/completions" if own_prompts else "/chat/completions")
        self._model = model
        self._key = api_key.strip()
        self._headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._own_prompts = own_prompts
        self._max_batch = max_batch
        self._retries = retries
        self._ready = False
        self._running = 0
        self._last_step = 0.0

    @property
    def prompt(self) -> Prompt:
        """Our own renderer. Raises RuntimeError when there is none."""
        if self._prompt is None:
            raise RuntimeError("this engine was made without a prompt")
        return self._prompt

    @property
    def capabilities(self) -> Capabilities:
        """What we ask of the server at once; its true limits are its own."""
        context = self._prompt.context if self._prompt else UNKNOWN_CONTEXT
        return Capabilities(max_batch=self._max_batch, max_context=context)

    def start(self) -> None:
        """Raises UserError when address or key can't be one. The server is asked only with the first request."""
        try:
            good = httpx.URL(self._url).scheme in ("http", "https")
        except httpx.InvalidURL:
            good = False
        if not good:
            shown = re.sub("//[^/]*@", "//...@", self._url)
            raise UserError(Problem("url", f"{shown!r}", "an address like http://host:8000/v1"))
        if not (self._key.isascii() and self._key.isprintable()):
            raise UserError(Problem("api_key", "characters that no HTTP header can hold", "letters, digits and signs of ASCII"))
        self._ready = True

    def stop(self, drain_s: float = 0.0) -> None:
        """Take no more requests and wait up to ``drain_s`` for the running ones."""
        self._ready = False
        until = time.monotonic() + drain_s
        while self._running and time.monotonic() < until:
            time.sleep(0.05)

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """Yield deltas as the server sends them. Closing the iterator hangs up, which cancels the request there."""
        async with aclosing(self._guarded(request)) as deltas:
            async for delta in deltas:
                yield delta

    def generate_many(
        self, requests: Sequence[GenerationRequest], done: Callable[[Completion], object] = lambda _completion: None
    ) -> list[Completion]:
        """Answer all, ``max_batch`` at once, in order. Not to be called from a running event loop."""
        return asyncio.run(self._all(requests, done))

    def health(self) -> Health:
        """Alive as long as it is started: only an answer can show that the server is."""
        age = time.monotonic() - self._last_step if self._running else 0.0
        return Health(alive=self._ready, ready=self._ready, running=self._running, last_step_age_s=age)

    async def _all(self, requests: Sequence[GenerationRequest], done: Callable[[Completion], object]) -> list[Completion]:
        free = asyncio.Semaphore(self._max_batch)

        async def one(request: GenerationRequest) -> Completion:
            async with free:
                deltas = [delta async for delta in self.stream(request)]
            text = "".join(delta.text for delta in deltas)
            tokens = tuple(token for delta in deltas for token in delta.token_ids)
            last = deltas[-1]
            return Completion(text, tokens, last.finish_reason or "stop", last.error, len(request.prompt_ids))

        tasks = [asyncio.create_task(one(request)) for request in requests]
        completions = []
        for task in tasks:
            completions.append(await task)
            done(completions[-1])
        return completions

    async def _guarded(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """The answer, with everything that can go wrong as its last delta."""
        if not self._ready:
            yield Delta("", (), "error", "the engine takes no requests")
            return
        self._running += 1
        self._last_step = time.monotonic()
        timeout = httpx.Timeout(READ_TIMEOUT_S, connect=10.0)
        try:
            async with httpx.AsyncClient(timeout=timeout, headers=self._headers, trust_env=False) as client:
                for attempt in range(self._retries + 1):
                    try:
                        async with aclosing(self._asked(client, request)) as deltas:
                            async for delta in _until(request.deadline, deltas):
                                yield delta
                        return
                    except _RefusedError as refusal:
                        if not refusal.worth_retrying or attempt == self._retries:
                            raise
                        pause = FIRST_PAUSE_S * 2**attempt if refusal.pause_s is None else refusal.pause_s
                        await asyncio.sleep(min(pause, LONGEST_PAUSE_S))
        except TimeoutError:
            yield Delta("", (), "deadline")
        except Exception as error:  # also for what is no such API at all: another server's words may be anything
            refused = isinstance(error, _RefusedError) and error.by_request
            yield Delta("", (), "refused" if refused else "error", str(error) or type(error).__name__)
        finally:
            self._running -= 1

    async def _asked(self, client: httpx.AsyncClient, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """One attempt. Raises _RefusedError before the first token, ValueError for what is no such stream."""
        try:
            async with client.stream("POST", self._url, json=self._body(request)) as response:
                if response.status_code != 200:
                    raise _refusal(response, await response.aread())
                async for line in response.aiter_lines():
                    if not line.startswith("data:") or (content := line[5:].strip()) == "[DONE]":
                        continue
                    text, reason = _piece(json.loads(content))
                    self._last_step = time.monotonic()
                    if text or reason:
                        yield Delta(text, self._counted(text), reason)
                    if reason:
                        return
        except httpx.ConnectError as error:
            raise _RefusedError(f"no connection: {error}", worth_retrying=True) from None
        raise ValueError("the server's answer broke off")

    def _counted(self, text: str) -> tuple[int, ...]:
        if self._prompt is None:
            return (NO_TOKEN,) if text else ()
        return tuple(self._prompt.encode(text))

    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "model": self._model,
            "max_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stream": True,
        }
        if request.stop:
            asked["stop"] = list(request.stop)
        if request.seed is not None:
            asked["seed"] = request.seed
        if self._own_prompts:
            return asked | {"prompt": list(request.prompt_ids)}
        return asked | {"messages": [message.model_dump() for message in request.messages]}


def _piece(event: Any) -> tuple[str, FinishReason | None]:
    """Text and finish reason of one event of a stream. Raises ValueError with the server's words when it is an error, and
    _RefusedError when the server ends the answer for a reason of its own.
    """
    if error := event.get("error"):
        raise ValueError(writable(str(error.get("message", error) if isinstance(error, dict) else error))[:MOST_WORDS])
    if not event.get("choices"):  # the usage, after the last piece
        return "", None
    choice = event["choices"][0]
    text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
    if not isinstance(text, str):
        raise ValueError(f"a piece of the answer is of type {type(text).__name__}, not a text")
    reason = choice.get("finish_reason")
    if reason not in (None, "stop", "length"):
        raise _RefusedError(f"the server ended the answer: {reason}", by_request=reason == "content_filter")
    return writable(text), reason


def _refusal(response: httpx.Response, body: bytes) -> _RefusedError:
    """What a status other than 200 means, with the server's message and the pause it asks for."""
    try:
        error = json.loads(body)["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        message = body[:200].decode("utf-8", "replace")
    wanted = response.headers.get("retry-after", "")
    pause = float(wanted) if wanted.isdigit() else None
    status = response.status_code
    return _RefusedError(
        f"HTTP {status}: {writable(str(message))[:MOST_WORDS]}", status in RETRY_STATUS, pause, status in REQUEST_STATUS
    )


async def _until(deadline: float | None, deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
    """The same deltas; TimeoutError when one comes after ``deadline`` (time.monotonic)."""
    while True:
        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        try:
            async with asyncio.timeout(left):
                delta = await anext(deltas)
        except StopAsyncIteration:
            return
        yield delta
