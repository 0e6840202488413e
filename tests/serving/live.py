"""Gateway and engine process as real servers, in threads of the test instead of processes of BentoML."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from legalqa.engine.fake import FakeEngine
from serving import engine_app
from serving.app import create_app
from serving.gateway import Gateway, configuration
from serving.guard import Guard


@contextmanager
def served(app: Any, bound: socket.socket) -> Iterator[None]:
    """Serve an ASGI app on a bound socket until the block ends."""
    options: dict[str, Any] = {"log_config": None, "lifespan": "on", "timeout_graceful_shutdown": 2}
    # As `make serve` has it: longer than clients keep a connection, so that none is closed while a question comes in on it.
    server = uvicorn.Server(uvicorn.Config(app, timeout_keep_alive=75, **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()


@contextmanager
def engine_served(engine: FakeEngine, path: Path, around: Callable[[Any], Any] = lambda app: app) -> Iterator[str]:
    """The engine process's app on a unix socket, in what is put ``around`` it; yields its URL."""
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    with served(around(engine_app.create_app(lambda _settings: engine)), bound):
        yield f"file://{path}"
    path.unlink(missing_ok=True)


class Service:
    """A running gateway: its address and its insides."""

    def __init__(self, url: str, gateway: Gateway) -> None:
        self.url = url
        self.gateway = gateway


@contextmanager
def gateway_served(around: Callable[[Any], Any] = lambda app: app) -> Iterator[Service]:
    """The gateway's app behind its guard on a free port, in what is put ``around`` it; settings come from the environment."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    app = create_app(configuration())
    with served(around(Guard(app, gateway=lambda: app.state.gateway)), bound):
        yield Service(f"http://127.0.0.1:{bound.getsockname()[1]}", app.state.gateway)
