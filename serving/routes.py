"""The public API: OpenAI's chat completions, /ask, what is served, health, metrics, the switch."""

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Literal, TypeVar

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from serving import forms
from serving.answers import Ask, Ended, Piece, RefusedError
from serving.bodies import AskBody, B, BadRequestError, Body, ChatBody, chat_ask, parsed, question_ask
from serving.errors import error_body, error_response
from serving.exchange import Exchange, TokensSpentError
from serving.gateway import MODEL, Gateway
from serving.keys import Client
from serving.switch import Mode, Switch

log = logging.getLogger("legalqa.access")

T = TypeVar("T")
READ_WITHIN_S = 30.0  # after the deadline of its answer, for a client that reads slowly
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class BreakerBody(Body):
    """PUT /admin/breaker; "closed" gives control back to the breaker."""

    state: Literal["closed", "forced_open", "disabled"]


class ModeBody(Body):
    """PUT /admin/mode."""

    mode: Mode
    ttl_s: float = Field(3600.0, gt=0, le=7 * 86400)
    reason: str = Field("", max_length=500)


class Streamed(StreamingResponse):
    """Server-sent events; the exchange is closed whether the client stays, leaves, leaves before the first event, or stays
    and reads nothing for ``within_s`` seconds in all.
    """

    def __init__(self, exchange: Exchange, events: AsyncIterator[str], headers: dict[str, str], within_s: float) -> None:
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._exchange = exchange
        self._within_s = within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send, then give everything back."""
        try:
            async with asyncio.timeout(self._within_s):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            log.warning("the client of %s did not read its answer", scope["state"].get("request_id"))
        finally:
            await self._exchange.close()


async def chat(request: Request) -> Response:
    """POST /v1/chat/completions."""
    gateway = _gateway(request)
    body = await _body(request, ChatBody)
    if body.model not in _models(gateway):
        raise BadRequestError(404, "model_not_found", f"no model {body.model!r}; /v1/models lists what there is", "model")
    ask = chat_ask(body, gateway.params, gateway.prompt, _defaults(gateway), _timeout_s(request), _request_id(request))
    fingerprint = str(gateway.info.get("version", ""))

    async def whole(exchange: Exchange) -> Response:
        answer = await exchange.whole()
        return JSONResponse(forms.chat_completion(ask, answer, fingerprint), headers=forms.headers(answer.began))

    async def chunks(exchange: Exchange) -> AsyncIterator[str]:
        assert exchange.began
        form = forms.Chunks(ask, exchange.began, fingerprint)
        yield form.first()
        async for event in exchange.events():
            if isinstance(event, Piece):
                yield form.text(event.text)
            elif event.error:
                yield _broken_off(event)
                return
            else:
                yield form.last(event)
                if body.stream_options and body.stream_options.include_usage:
                    yield form.counts(event)
        yield "data: [DONE]\n\n"

    return await _answered(request, ask, whole, chunks if body.stream else None)


async def ask(request: Request) -> Response:
    """POST /ask."""
    gateway = _gateway(request)
    body = await _body(request, AskBody)
    ask = question_ask(body, gateway.params, gateway.prompt, _defaults(gateway), _timeout_s(request), _request_id(request))

    async def whole(exchange: Exchange) -> Response:
        answer = await exchange.whole()
        return JSONResponse(forms.ask_answer(answer), headers=forms.headers(answer.began))

    async def events(exchange: Exchange) -> AsyncIterator[str]:
        assert exchange.began
        yield forms.event(forms.about(exchange.began) | {"model": exchange.began.model}, "begin")
        async for event in exchange.events():
            if isinstance(event, Piece):
                yield forms.event({"text": event.text}, "text")
            elif event.error:
                yield _broken_off(event)
                return
            else:
                yield forms.event(forms.about(exchange.began, event), "end")

    return await _answered(request, ask, whole, events if body.stream else None)


async def models(request: Request) -> Response:
    """GET /v1/models."""
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "legalqa"} for name in _models(_gateway(request))]
    return JSONResponse({"object": "list", "data": listed})


async def info(request: Request) -> Response:
    """GET /info: the bundle's manifest, the mode, what the engine says, and what is missing."""
    gateway = _gateway(request)
    status = gateway.engine.status
    engine = {"state": gateway.engine.unavailable() or "ready", "said": status.state, "pid": status.pid}
    said = {"bundle": gateway.info or None, "mode": gateway.switch.mode, "engine": engine, "problems": gateway.problems}
    return JSONResponse(said)


async def engine_health(request: Request) -> Response:
    """200 while the model makes progress; else 503 with the reason."""
    gateway = _gateway(request)
    missing, health = gateway.engine.unavailable(), gateway.engine.health()
    body = {"model": missing or "ready", "breaker": gateway.model.breaker.state, "last_step_age_s": health.last_step_age_s}
    return JSONResponse(body | {"running": health.running, "waiting": health.waiting}, 503 if missing else 200)


async def metrics(request: Request) -> Response:
    """GET /metrics."""
    return Response(_gateway(request).telemetry.text(), media_type=PROMETHEUS)


async def get_mode(request: Request) -> Response:
    """GET /admin/mode."""
    return _mode(_gateway(request).switch)


async def put_mode(request: Request) -> Response:
    """PUT /admin/mode."""
    switch = _gateway(request).switch
    body = await _body(request, ModeBody)
    client: Client = request.state.client
    switch.set(body.mode, body.ttl_s, client.name, body.reason)
    return _mode(switch)


async def put_breaker(request: Request) -> Response:
    """PUT /admin/breaker."""
    gateway = _gateway(request)
    breaker, client = gateway.model.breaker, request.state.client
    breaker.force((await _body(request, BreakerBody)).state)
    gateway.switch.note_breaker(breaker.state, client.name)
    return JSONResponse({"breaker": breaker.state})


async def _answered(request: Request, ask: Ask, whole: Any, stream: Any) -> Response:
    """The response of either form, with everything given back when it ends or the client goes."""
    exchange = Exchange(_gateway(request), ask, request.state.client)

    try:
        if stream is None:
            response = await _unless_gone(request, whole(exchange))
        else:
            began = await _unless_gone(request, exchange.begin())
            if began is not None:
                said = forms.headers(began) | STREAM_HEADERS
                return Streamed(exchange, stream(exchange), said, ask.seconds_left + READ_WITHIN_S)
            response = None
    except TokensSpentError as error:
        response = error_response(429, "rate_limit_exceeded", str(error), headers=error.verdict.headers())
    except RefusedError as error:
        retry = {"Retry-After": str(max(int(error.retry_after_s), 1)), "X-Degraded-Reason": error.code}
        if error.code == "draining":
            retry["x-should-retry"] = "false"
        response = error_response(error.status, error.code, str(error), headers=retry)
    except BaseException:
        await exchange.close()
        raise
    await exchange.close()
    return response or Response(status_code=499)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """What ``work`` gives; None, and ``work`` cancelled, when the client goes away first."""
    doing = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        for task in (doing, gone):
            task.cancel()
        await asyncio.gather(doing, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request, form: type[B]) -> B:
    return parsed(await request.body(), form)


def _mode(switch: Switch) -> Response:
    return JSONResponse({"mode": switch.mode, "origin": switch.origin, "ttl_s": switch.ttl_s})


def _broken_off(ended: Ended) -> str:
    return forms.event(error_body(500, "model_failed", f"the answer broke off: {ended.error}"), "error")


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


def _models(gateway: Gateway) -> list[str]:
    version = gateway.info.get("version")
    return [MODEL, f"{MODEL}:{version}"] if version else [MODEL]


def _defaults(gateway: Gateway) -> dict[str, Any]:
    generation: dict[str, Any] = gateway.info.get("generation", {})
    return generation


def _timeout_s(request: Request) -> float:
    given = request.headers.get("x-request-timeout-ms")
    if given is None:
        return float("inf")
    if not re.fullmatch("[0-9]{1,9}", given):
        message = f"X-Request-Timeout-Ms is {given[:40]!r}; expected whole milliseconds, such as 2000"
        raise BadRequestError(400, "invalid_timeout", message, "X-Request-Timeout-Ms")
    return max(int(given), 100) / 1000


def _request_id(request: Request) -> str:
    return str(getattr(request.state, "request_id", "") or secrets.token_hex(8))
