"""What stands before every route, BentoML's own included: who asks, how often, and how much is read.

It is an ASGI middleware, so that a flood is turned away before anything is parsed, and answers in our own form.
"""

import asyncio
import ipaddress
import logging
import re
import secrets
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.bodies import BadRequestError, parsed
from serving.bulk import BulkBody
from serving.errors import error_response
from serving.gateway import Gateway
from serving.keys import Client
from serving.limits import Verdict

log = logging.getLogger("legalqa.access")

MAX_BODY = 64 * 1024
BODY_WITHIN_S = 10.0
HANG_UP = {"Connection": "close"}  # so that the rest of the body is not read
GUARDED = {"/v1/chat/completions": "ask", "/ask": "ask", "/bulk": "bulk", "/admin/mode": "admin", "/admin/breaker": "admin"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # Starlette's routes match a path with a line end behind it, too
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


class Guard:
    """Wraps the whole service. ``gateway`` is looked up on each request: it exists only once the service has started."""

    def __init__(self, app: ASGIApp, gateway: Callable[[], Gateway]) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or answer 401, 403, 404, 408, 413 or 429."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.monotonic()
        extra = {"X-Request-Id": request_id}
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(extra)
            await send(message)

        needed = GUARDED.get(scope["path"])
        client = Client("-")
        try:
            if _CONTROL.search(scope["path"]):
                await error_response(404, "not_found", "no such path")(scope, receive, sending)
                return
            if not needed:
                await (self._ready if scope["path"] == "/readyz" else self._app)(scope, receive, sending)
                return
            gateway = self._gateway()
            who = self._identify(gateway, scope, headers, needed)
            if isinstance(who, int):
                code = "invalid_api_key" if who == 401 else "insufficient_scope"
                message = (
                    "a valid API key is needed: Authorization: Bearer ..."
                    if who == 401
                    else f"this key lacks the scope {needed}"
                )
                await error_response(who, code, message)(scope, receive, sending)
                return
            client = who
            scope["state"]["client"] = client
            await self._limited(gateway, client, scope, receive, sending, extra)
        finally:
            seconds = time.monotonic() - began
            if needed:
                log.info(
                    "%s %s %s %d %.3f s client=%s", request_id, scope["method"], scope["path"], status, seconds, client.name
                )

    async def _ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /readyz in place of BentoML's: 200 while something true can be answered, with what is missing or damaged."""
        gateway = self._gateway()
        said = {"ready": gateway.can_answer, "mode": gateway.switch.mode, "model": gateway.engine.unavailable() or "ready"}
        response = JSONResponse(said | {"problems": gateway.problems}, 200 if gateway.can_answer else 503)
        await response(scope, receive, send)

    def _identify(self, gateway: Gateway, scope: Scope, headers: Headers, needed: str) -> Client | int:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if needed == "admin" and gateway.is_admin_token(token):
            return Client("admin")
        if gateway.keys and (token or needed == "admin"):
            key = gateway.keys.find(token)
            if not key:
                return 401
            return Client(key.id, key) if needed in key.scopes else 403
        if needed == "admin" or gateway.keys:
            return 401
        address = scope["client"][0] if scope.get("client") else ""
        return Client(address or "local") if gateway.settings.open or _is_loopback(address) else 401

    async def _limited(
        self, gateway: Gateway, client: Client, scope: Scope, receive: Receive, send: Send, extra: dict[str, str]
    ) -> None:
        key = client.key
        verdict = await gateway.limits.request(client.name, key.requests_per_minute if key else None)
        extra.update(verdict.headers())
        if not verdict.allowed:
            await self._refuse(gateway, verdict, scope, receive, send)
            return
        at_once = gateway.limits.enter(client.name, key.concurrent if key else None)
        if not at_once.allowed:
            extra.update(at_once.headers())
            await self._refuse(gateway, at_once, scope, receive, send)
            return
        try:
            body = await _read(Headers(scope=scope), receive)
            if isinstance(body, int):
                too_big = body == 413
                message = f"the body is over {MAX_BODY} bytes" if too_big else "the body did not come in time"
                refused = error_response(body, "body_too_large" if too_big else "body_timeout", message, headers=HANG_UP)
                await refused(scope, receive, send)
                return
            if scope["path"] == "/bulk" and scope["method"] == "POST":
                try:
                    over = await self._bulk_share(gateway, client, parsed(body, BulkBody))
                except BadRequestError as error:
                    await error.response()(scope, receive, send)
                    return
                if over:
                    extra.update(over.headers())
                    await self._refuse(gateway, over, scope, receive, send)
                    return
            await self._app(scope, _replay(body, receive), send)
        finally:
            gateway.limits.leave(client.name)

    async def _bulk_share(self, gateway: Gateway, client: Client, body: BulkBody) -> Verdict | None:
        """Count a bulk request's tokens before its items are mixed with others': the verdict when they are too many now.

        Raises BadRequestError when they always will be.
        """
        tokens = body.tokens(gateway.params.default_new_tokens, gateway.params.max_new_tokens)
        per_minute = client.key.tokens_per_minute if client.key else None
        verdict = await gateway.limits.reserve(client.name, tokens, per_minute)
        if verdict.allowed:
            await gateway.limits.settle(client.name, tokens, tokens, per_minute)
        elif tokens > verdict.limit:
            message = f"these questions ask for {tokens} tokens, {verdict.limit} a minute are allowed; send fewer at once"
            raise BadRequestError(400, "too_many_tokens", message, "items")
        return None if verdict.allowed else verdict

    async def _refuse(self, gateway: Gateway, verdict: Verdict, scope: Scope, receive: Receive, send: Send) -> None:
        gateway.telemetry.limited(verdict.kind)
        message = f"over the limit of {verdict.limit} {verdict.kind}" + ("" if verdict.kind == "concurrent" else " a minute")
        await error_response(429, "rate_limit_exceeded", message)(scope, receive, send)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


async def _read(headers: Headers, receive: Receive) -> bytes | int:
    """The whole body, or the status that says why not: 413 before more than the cap is read, 408 when it dribbles."""
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_BODY:
        return 413
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return bytes(body)
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    return 413
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        return 408


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body that was read, once; then what the server says (that the client has gone)."""
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
