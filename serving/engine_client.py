"""The gateway's end of the engine process: asks it, and watches it, so that no request waits for one that is gone.

BentoML keeps the engine's socket open while the process is dead, stopped or starting, so a call would queue for good. The
watch finds that out by asking for the engine's health; what is under way is then let go at once, and nothing new is sent.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
from opentelemetry import propagate
from pydantic import ValidationError

from legalqa.engine.interface import Capabilities, Delta, GenerationRequest, Health
from legalqa.params import ServeParams
from serving import wire
from serving.answers import Reason
from serving.pace import Pace

log = logging.getLogger("legalqa.gateway")

ASK_EVERY_S = 0.5
ANSWER_WITHIN_S = 1.5
CANARY_EVERY_S = 1.0  # a slow engine gets no questions, so a few tokens of our own find out when it is over
CANARY_TOKENS = 4
IDLE_S = 2.0  # BentoML's servers hang up after 5 s; a question sent at that moment would look as if the engine had died
MISSES = 2  # so many unanswered questions in a row, and the engine counts as gone
UNKNOWN = wire.Status("loading", Health(alive=False, ready=False))


class EngineLostError(Exception):
    """The engine died, hangs, or said nothing for too long in the middle of an answer."""


class EngineClient:
    """One engine process behind a URL: file:///path of a socket (as BentoML writes it), tcp://host:port or http://host:port."""

    def __init__(self, url: str, params: ServeParams, on_back: Callable[[bool], None] = lambda anew: None) -> None:
        parts = urlsplit(url)
        path = parts.path if parts.scheme in ("unix", "file") else None
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=path, limits=httpx.Limits(max_connections=None, keepalive_expiry=IDLE_S)),
            base_url="http://engine" if path else f"http://{parts.netloc}",
            timeout=None,
            trust_env=False,
        )
        self._local = bool(path)
        self._params = params
        self._on_back = on_back
        self._status = UNKNOWN
        self._misses = 0
        self._pid = 0
        self._anew = False  # started again, or silent, since it was last there
        self._silent_s = 0.0
        self._looked = time.monotonic()
        self._scopes: dict[asyncio.Timeout, float] = {}  # what waits for the engine, and since when
        self._watch: asyncio.Task[None] | None = None
        self._pace = Pace()
        self._canary: asyncio.Task[None] | None = None
        self._canary_ids: Sequence[int] = ()
        self._canary_at = 0.0

    def start(self) -> None:
        """Begin to watch."""
        self._watch = asyncio.create_task(self._watching(), name="engine watch")

    async def close(self) -> None:
        """Watch no more and hang up."""
        tasks = [task for task in (self._watch, self._canary) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.aclose()

    @property
    def status(self) -> wire.Status:
        """What the engine last said."""
        return self._status

    def health(self) -> Health:
        """The engine's last health."""
        return self._status.health

    def capabilities(self) -> Capabilities:
        """The engine's limits; those of the params until it has said its own."""
        return self._status.capabilities or Capabilities(self._params.max_batch, self._params.context)

    def unavailable(self) -> Reason:
        """Why it can't be asked now; "" when it can."""
        if self._status.state == "ready" and self._misses >= MISSES:
            return "unavailable"
        if self._status.state == "failed":
            return "no_model"
        if self._status.state == "loading":
            return "loading"
        if self._stuck or not self._status.health.ready:
            return "unavailable"
        return "slow" if self._pace.slow else ""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """Deltas as they come; closing this closes the connection, and so cancels the request. Raises EngineLostError."""
        self._canary_ids = request.prompt_ids[:CANARY_TOKENS]
        try:
            with self._let_go() as first:
                async with first:
                    traced: dict[str, str] = {}
                    propagate.inject(traced)  # the engine's part of a trace belongs to the question's
                    content = wire.pack_request(request)
                    http_request = self._http.build_request("POST", "/engine/generate", content=content, headers=traced)
                    response = await self._http.send(http_request, stream=True)
            try:
                if response.status_code != 200:
                    raise EngineLostError(f"the engine answered {response.status_code}")
                lines = response.aiter_lines()
                while True:
                    with self._let_go() as scope:
                        async with scope:
                            line = await anext(lines, None)
                    if line is None:
                        return
                    yield wire.unpack_delta(line)
            finally:
                await response.aclose()
        except (httpx.TransportError, ValidationError, TimeoutError) as error:
            self._heed(error)
            raise EngineLostError(f"{type(error).__name__}: {error}") from error

    @contextmanager
    def _let_go(self) -> Iterator[asyncio.Timeout]:
        """A timeout without a time, until the watch gives it one."""
        scope = asyncio.timeout(None)
        self._scopes[scope] = asyncio.get_running_loop().time()
        try:
            yield scope
        finally:
            del self._scopes[scope]

    @property
    def _stuck(self) -> bool:
        health = self._status.health
        lifeless = self._status.state == "ready" and not health.alive  # the process lives, what computes in it does not
        return lifeless or (health.running > 0 and health.last_step_age_s > self._params.stall_s)

    async def _watching(self) -> None:
        while True:
            try:
                await self._look()
            except Exception:  # whatever it was: without a watch nobody would see an engine go, or come back
                log.exception("a look at the engine failed")
            await asyncio.sleep(ASK_EVERY_S)

    async def _look(self) -> None:
        was = self.unavailable()
        # Where the whole machine has paused, the engine was not silent: a round counts for as long as one takes.
        self._silent_s += min(time.monotonic() - self._looked, ASK_EVERY_S + ANSWER_WITHIN_S)
        self._looked = time.monotonic()
        await self._ask()
        now = self.unavailable()
        if now and not was:
            log.error("engine lost (%s), %d answers under way", now, len(self._scopes))
        if now and now != "slow":
            self._let_go_of_the_waiting()
        else:  # a slow one, too, finishes what it has begun
            self._let_wait()
        if not now:
            if was:
                log.info("engine back (%s)", was)
                self._on_back(self._anew)
            self._anew = False
        self._end_if_hung()
        self._send_canary()

    async def _ask(self) -> None:
        try:
            response = await self._http.get("/engine/health", timeout=ANSWER_WITHIN_S)
            before, self._status = self._status, wire.unpack_status(response.content)
            self._misses = 0
            if self._status.state == "ready" and self._status.pid != self._pid:
                self._pid, self._anew = self._status.pid, True
            if not self._stuck:
                self._silent_s = 0.0
            health = self._status.health
            self._pace.heard(health.slowdown, busy=health.running > 0)
            if self._status.state == "failed" and before.state != "failed":
                log.error("engine: %s", self._status.problem)
        except (httpx.HTTPError, ValidationError) as error:
            self._misses += 1
            self._anew = self._anew or self._misses >= MISSES
            self._heed(error)

    def _send_canary(self) -> None:
        now = time.monotonic()
        idle = self._canary is None or self._canary.done()
        if idle and self.unavailable() == "slow" and now > self._canary_at + CANARY_EVERY_S:
            self._canary_at = now
            self._canary = asyncio.create_task(self._sing(), name="canary")

    async def _sing(self) -> None:
        try:
            async for _ in self.stream(GenerationRequest(self._canary_ids, CANARY_TOKENS, id="canary")):
                pass
        except EngineLostError as error:
            log.info("canary: %s", error)

    def _heed(self, error: Exception) -> None:
        """Who hangs up in the middle has died, and another process comes; its first word will say that it loads."""
        if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError) and self._status.state == "ready":
            log.error("the engine process %d has died", self._status.pid)
            self._status = UNKNOWN

    def _let_go_of_the_waiting(self) -> None:
        """End what has waited for a while, and the rest as soon as it has.

        An engine that shuts down is silent about its health, but finishes its answers.
        """
        for scope, since in self._scopes.items():
            if not scope.expired():
                scope.reschedule(since + ANSWER_WITHIN_S)

    def _let_wait(self) -> None:
        """Until the next piece comes, however long that takes."""
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(None)

    def _end_if_hung(self) -> None:
        """A process that hangs is never replaced by BentoML; ended, it is. One that loads is given all the time it takes."""
        if self._local and self._status.state == "ready" and self._silent_s > self._params.restart_after_s:
            log.error("engine process %d hangs, ending it", self._status.pid)
            try:
                os.kill(self._status.pid, signal.SIGKILL)
            except ProcessLookupError:
                log.info("engine process %d has gone already", self._status.pid)
            self._silent_s = 0.0
            self._status = UNKNOWN
