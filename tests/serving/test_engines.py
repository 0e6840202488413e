import json
import threading
from pathlib import Path

import pytest

from legalqa.engine.continuous_engine import ContinuousEngine
from legalqa.engine.fake import FakeEngine
from legalqa.engine.interface import GenerationRequest
from legalqa.engine.openai_engine import OpenAIEngine
from legalqa.prompt import Prompt
from serving import engine_app
from serving.engines import open_engine
from serving.settings import Settings
from tests import openai_server
from tests.serving.bundles import PROBATION_ANSWER, bundle
from tests.serving.conftest import wait_until


def test_the_engine_knows_the_phrases_of_the_answers_in_its_bundle(tmp_path: Path) -> None:
    engine = open_engine(Settings(bundle=bundle(tmp_path, with_adapter=True)))
    assert isinstance(engine, ContinuousEngine)
    first, second, third, fourth = engine.prompt.encode(PROBATION_ANSWER)[:4]
    assert engine._phrases
    assert engine._phrases.after([first, second, third]) == fourth


WRITTEN = [{"choices": [{"text": "好", "finish_reason": "stop"}]}]


@pytest.mark.parametrize("own", [True, False])
def test_a_server_in_the_models_place_gets_prompts_rendered_as_in_training(own: bool, bundle_folder: Path) -> None:
    with openai_server.running() as server:
        server.events = WRITTEN if own else openai_server.said("好")
        upstream = {"url": server.url, "model": "tuned", "max_concurrent": 3} | ({} if own else {"own_prompts": False})
        engine = open_engine(Settings(bundle=bundle_folder, engine="openai", upstream=json.dumps(upstream)))  # type: ignore[arg-type]
        assert isinstance(engine, OpenAIEngine) and engine.capabilities.max_batch == 3
        engine.start()
        assert engine.generate_many([GenerationRequest((1, 2, 3), 4)])[0].text == "好"
        ((path, _, body),) = server.seen
        assert (path, body.get("prompt")) == (("/v1/completions", [1, 2, 3]) if own else ("/v1/chat/completions", None))


def test_a_server_in_the_models_place_is_waited_for(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_app, "AGAIN_S", 0.2)
    with openai_server.running() as server:
        monkeypatch.setenv("LEGALQA_BUNDLE", str(bundle_folder))
        monkeypatch.setenv("LEGALQA_ENGINE", "openai")
        monkeypatch.setenv("LEGALQA_UPSTREAM", json.dumps({"url": server.url, "model": "tuned"}))
        server.events, server.refusals = WRITTEN, [(503, {}, b"still loading")] * 5
        host = engine_app.EngineHost(open_engine)
        loading = threading.Thread(target=host.load)
        loading.start()
        wait_until(lambda: host.status().problem == "HTTP 503: still loading")
        loading.join()
        assert (host.status().state, host.status().problem, len(server.seen)) == ("ready", "", 6)
        host.close()

        server.refusals = [(503, {}, b"never there")] * 1000
        host = engine_app.EngineHost(open_engine)
        loading = threading.Thread(target=host.load)
        loading.start()
        wait_until(lambda: bool(host.status().problem))
        host.close()
        loading.join(5)
        assert not loading.is_alive() and host.status().state == "loading"


def test_an_engine_that_can_not_write_has_failed(bundle_folder: Path) -> None:
    engine = FakeEngine(Prompt.load(bundle_folder))
    engine.fault = "error"
    host = engine_app.EngineHost(lambda _settings: engine)
    host.load()
    assert host.status().state == "failed" and "the first generation failed: told to fail" in host.status().problem
