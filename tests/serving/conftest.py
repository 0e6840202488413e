"""A running service over an engine without a model, which says and does what a test tells it to."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from legalqa.engine.fake import FakeEngine
from legalqa.prompt import Prompt
from tests.serving.bundles import bundle
from tests.serving.live import Service, engine_served, gateway_served

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("bundle"))


def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.02)


@dataclass
class Running:
    """The service, a client for it, and the engine behind it."""

    service: Service
    engine: FakeEngine
    http: httpx.Client

    def ask(self, question: str = "押金能退吗？", **more: object) -> httpx.Response:
        return self.http.post("/ask", json={"question": question, **more})

    def chat(self, content: str = "押金能退吗？", **more: object) -> httpx.Response:
        return self.http.post(
            "/v1/chat/completions", json={"model": "legalqa", "messages": [{"role": "user", "content": content}], **more}
        )


Start = Callable[..., Running]


@pytest.fixture
def start(bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a service; keywords are settings (``keys=...`` sets LEGALQA_KEYS) and ``params``, pairs of old and new lines."""
    with ExitStack() as stack:

        def starting(engine: FakeEngine | None = None, params: tuple[tuple[str, str], ...] = (), **settings: object) -> Running:
            engine = engine or FakeEngine(Prompt.load(bundle_folder))
            url = stack.enter_context(engine_served(engine, tmp_path / "engine.sock"))
            text = PARAMS.read_text(encoding="utf-8")
            for old, new in params:
                assert old in text
                text = text.replace(old, new)
            (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
            given = {"bundle": bundle_folder, "engine_url": url, "params": tmp_path / "params.yaml"} | settings
            for name, value in given.items():
                monkeypatch.setenv(f"LEGALQA_{name.upper()}", str(value))
            service = stack.enter_context(gateway_served())
            http = stack.enter_context(httpx.Client(base_url=service.url, timeout=30))
            wait_until(lambda: not service.gateway.engine.unavailable())
            return Running(service, engine, http)

        yield starting


@pytest.fixture
def running(start: Start) -> Running:
    return start()
