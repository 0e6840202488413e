"""The engine process: loads the model in the background, says truthfully how far it is, streams what it writes.

A model that can't be loaded doesn't end the process: BentoML would start it again and again, each time for nothing. It
says why, and the gateway answers without it.
"""

import logging
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from legalqa.engine.interface import Engine, GenerationRequest, Health
from legalqa.problems import UserError
from legalqa.records import Message
from serving import wire
from serving.engines import open_engine
from serving.settings import Settings, load_settings

log = logging.getLogger("legalqa.engine")

QUESTION = Message(role="user", content="您好，请问试用期最长可以约定多久？")
WARM_UP = GenerationRequest(prompt_ids=(), max_new_tokens=8, id="warm-up", messages=(QUESTION,))
DRAIN_S = 20.0
AGAIN_S = 5.0  # a server in the model's place may only be starting


class EngineHost:
    """One engine from its loading to its end."""

    def __init__(self, open_engine: Callable[[Settings], Engine]) -> None:
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._state: wire.State = "loading"
        self._problem = ""
        self._closing = threading.Event()

    def load(self) -> None:
        """Open the bundle, start the engine, have it write a few tokens; runs in a thread of its own.

        A server in the model's place is asked again and again until it answers.
        """
        try:
            settings = load_settings()
            engine = self._open_engine(settings)
            engine.start()
            request = replace(WARM_UP, prompt_ids=engine.prompt.completion(WARM_UP.messages))
            while error := engine.generate_many([request])[0].error:
                if settings.engine != "openai":
                    engine.stop()
                    raise RuntimeError(f"the first generation failed: {error}")
                if error != self._problem:
                    log.error("LEGALQA_UPSTREAM gives no answer yet: %s", error)
                self._problem = error
                if self._closing.wait(AGAIN_S):
                    return
            self._engine, self._state, self._problem = engine, "ready", ""
            log.info("engine ready")
        except UserError as error:
            self._fail(str(error))
            log.error("no engine: %s", error)
        except Exception as error:  # whatever it was, the gateway must hear of it
            self._fail(f"{type(error).__name__}: {error}")
            log.exception("no engine")

    def status(self) -> wire.Status:
        """The truth now."""
        engine = self._engine
        if engine is None:
            health = Health(alive=self._state == "loading", ready=False)
            return wire.Status(self._state, health, problem=self._problem, pid=os.getpid())
        return wire.Status(self._state, engine.health(), engine.capabilities, pid=os.getpid())

    async def lines(self, request: GenerationRequest) -> AsyncIterator[bytes]:
        """Deltas as lines. Ends early, cancelling the request, when the gateway goes away."""
        assert self._engine
        async with aclosing(self._engine.stream(request)) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                yield wire.pack_delta(delta)

    def close(self) -> None:
        """Let running answers finish, then end."""
        self._closing.set()
        if self._engine:
            self._engine.stop(drain_s=DRAIN_S)

    def _fail(self, problem: str) -> None:
        self._state, self._problem = "failed", problem


def create_app(open_engine: Callable[[Settings], Engine] = open_engine) -> Starlette:
    """The engine process's routes."""
    host = EngineHost(open_engine)

    async def health(_: Request) -> Response:
        return Response(wire.pack_status(host.status()), media_type="application/json")

    async def generate(request: Request) -> Response:
        if host.status().state != "ready":
            return JSONResponse({"error": host.status().state}, status_code=503)
        try:
            wanted = wire.unpack_request(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return StreamingResponse(host.lines(wanted), media_type="application/x-ndjson")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        logging.getLogger("legalqa").setLevel(logging.INFO)
        threading.Thread(target=host.load, name="load", daemon=True).start()
        yield
        host.close()

    routes = [Route("/engine/health", health), Route("/engine/generate", generate, methods=["POST"])]
    return Starlette(routes=routes, lifespan=lifespan)
