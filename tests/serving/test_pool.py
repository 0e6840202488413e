"""Other endpoints: asked when the model can't answer, the idle one first, each behind its own breaker."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from legalqa.engine.fake import FakeEngine
from legalqa.prompt import Prompt
from serving.app import create_app
from serving.gateway import configuration
from serving.guard import Guard
from tests.openai_server import running as openai_server
from tests.serving.bundles import PROBATION, PROBATION_ANSWER
from tests.serving.conftest import Start, wait_until
from tests.serving.live import engine_served, served


@contextmanager
def other(bundle_folder: Path, folder: Path, reply: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, FakeEngine]]:
    """Another OpenAI-compatible server: this very service over another engine, without a knowledge base's help."""
    engine = FakeEngine(Prompt.load(bundle_folder), lambda _request: reply)
    with engine_served(engine, folder / f"{len(reply)}.sock") as url:
        monkeypatch.setenv("LEGALQA_BUNDLE", str(bundle_folder))
        monkeypatch.setenv("LEGALQA_ENGINE_URL", url)
        monkeypatch.setenv("LEGALQA_MODE", "llm_only")
        app = create_app(configuration())
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        with served(Guard(app, gateway=lambda: app.state.gateway), bound):
            wait_until(lambda: not app.state.gateway.engine.unavailable())
            yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1", engine


def test_the_pool_answers_and_says_so(
    start: Start, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        endpoints = []
        for reply in ("另一个模型。", "第三个模型答。"):
            url, engine = stack.enter_context(other(bundle_folder, tmp_path, reply, monkeypatch))
            endpoints.append({"url": url, "model": "legalqa", "max_concurrent": 2})
        running = start(endpoints=json.dumps(endpoints), mode="auto")
        assert running.ask(PROBATION).json()["source"] == "tuned"
        running.engine.fault = "error"
        body = running.ask(PROBATION).json()
        assert (body["source"], body["degraded"], body["reason"], body["ai_generated"]) == ("endpoint", True, "error", True)
        assert body["answer"] == "另一个模型。"
        first, second = running.service.gateway.ladder.rungs[1].members
        place = first.admission.admit(10, 10, 1e12, 1e12, first.backend.health(), 2)
        assert place and running.ask(PROBATION).json()["answer"] == "第三个模型答。"
        place.close()
        refused = running.ask(PROBATION, allow_degraded=False)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "error")
        monkeypatch.setattr(running.service.gateway.switch, "_environment", "llm_only")
        running.engine.fault = "dead"
        wait_until(lambda: bool(running.service.gateway.engine.unavailable()))
        assert running.http.get("/readyz").status_code == 200 and running.ask(PROBATION).json()["source"] == "endpoint"
        running.engine.fault = "error"
        wait_until(lambda: not running.service.gateway.engine.unavailable())
        monkeypatch.setattr(running.service.gateway.switch, "_environment", "auto")
        assert not any(member.admission.tickets for member in (running.service.gateway.model, first, second))
        first.breaker.force("forced_open")
        assert running.ask(PROBATION).json()["answer"] == "第三个模型答。"
        engine.fault = "error"
        assert running.ask(PROBATION).json()["answer"] == PROBATION_ANSWER
        assert second.breaker.state == "closed"
        metrics = running.http.get("/metrics").text
        host = endpoints[0]["url"].removeprefix("http://").removesuffix("/v1")
        assert f'legalqa_breaker_state{{of="1: legalqa at {host}",state="forced_open"}} 1.0' in metrics


def test_who_refuses_a_question_is_not_taken_for_broken(start: Start) -> None:
    with openai_server() as server:
        running = start(endpoints=json.dumps([{"url": server.url, "model": "other"}]))
        running.engine.fault = "error"
        running.service.gateway.model.breaker.force("forced_open")
        (member,) = running.service.gateway.ladder.rungs[1].members
        server.refusals = [(400, {}, b'{"error": "too long"}')] * 30
        for _ in range(30):
            assert running.ask(PROBATION).json()["source"] == "knowledge"
        assert (len(server.seen), member.breaker.state) == (30, "closed")
        server.refusals = [(500, {}, b"broken")] * 30
        while member.breaker.state == "closed":
            assert running.ask(PROBATION).json()["source"] == "knowledge"
        assert server.refusals


def test_no_more_at_once_than_an_endpoint_takes(start: Start) -> None:
    with openai_server() as server:
        running = start(endpoints=json.dumps([{"url": server.url, "model": "other", "max_concurrent": 2}]))
        (member,) = running.service.gateway.ladder.rungs[1].members
        asked = (10, 10, 1e12, 1e12, member.backend.health(), member.backend.capabilities().max_batch)
        assert [bool(member.admission.admit(*asked)) for _ in range(3)] == [True, True, False]
