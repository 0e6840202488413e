"""The gateway as an ASGI app, mounted in the BentoML service so that status codes, headers and bodies are ours."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from serving import routes
from serving.bodies import BadRequestError
from serving.gateway import Configuration, Gateway
from serving.openapi import document

WEB = Path(__file__).resolve().parent / "web"
PAGE_FILES = {"app.js": "text/javascript", "style.css": "text/css"}
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


async def page(_: Request) -> Response:
    """GET /: the chat page."""
    return FileResponse(WEB / "index.html", headers=PAGE_HEADERS)


async def page_file(request: Request) -> Response:
    """Script and style of the page."""
    name = request.path_params["name"]
    if name not in PAGE_FILES:
        return Response(status_code=404)
    return FileResponse(WEB / name, media_type=PAGE_FILES[name], headers=PAGE_HEADERS)


async def openapi_document(_: Request) -> Response:
    """GET /openapi.json."""
    return JSONResponse(document())


async def bad_request(_: Request, error: Exception) -> Response:
    """What a route could not make sense of."""
    assert isinstance(error, BadRequestError)
    return error.response()


def create_app(configured: Configuration) -> Starlette:
    """The routes; the gateway itself is put together when the service starts."""

    @asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        logging.getLogger("legalqa").setLevel(logging.INFO)
        gateway = Gateway.open(configured)
        app.state.gateway = gateway
        gateway.start()
        yield
        await gateway.close()

    return Starlette(
        lifespan=running,
        exception_handlers={BadRequestError: bad_request},
        routes=[
            Route("/", page),
            Route("/web/{name}", page_file),
            Route("/v1/chat/completions", routes.chat, methods=["POST"]),
            Route("/v1/models", routes.models),
            Route("/ask", routes.ask, methods=["POST"]),
            Route("/info", routes.info),
            Route("/healthz/engine", routes.engine_health),
            Route("/metrics", routes.metrics),
            Route("/openapi.json", openapi_document),
            Route("/admin/breaker", routes.put_breaker, methods=["PUT"]),
            Route("/admin/mode", routes.get_mode),
            Route("/admin/mode", routes.put_mode, methods=["PUT"]),
        ],
    )
