"""What is missing or damaged never ends the gateway: it answers from what is left, and says so everywhere."""

import json
import shutil
from pathlib import Path

import httpx
import pytest

from legalqa.engine.fake import FakeEngine
from legalqa.prompt import Prompt
from tests.serving.bundles import PROBATION, knowledge
from tests.serving.conftest import wait_until
from tests.serving.live import engine_served, gateway_served

DAMAGE = {
    "manifest.json": "{",
    "tokenizer.json": "{}",
    "prompt.json": '{"template": "none such"}',
    "generation.json": "[1",
    "knowledge/settings.json": "{",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_bundle_is_said_and_survived(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / name).write_text(DAMAGE[name], encoding="utf-8")
    if name != "manifest.json":  # what a check of sizes alone does not see
        manifest["files"][name]["size"] = len(DAMAGE[name])
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    monkeypatch.setenv("LEGALQA_BUNDLE", str(folder))
    monkeypatch.setenv("LEGALQA_KNOWLEDGE", str(tmp_path / "none"))  # not the index that `make repro` may have left here
    monkeypatch.setenv("LEGALQA_ENGINE_URL", "http://127.0.0.1:9")
    with gateway_served() as service:
        ready = httpx.get(f"{service.url}/readyz")
        assert (ready.status_code, len(ready.json()["problems"])) == (200, 1)
        answer = httpx.post(f"{service.url}/ask", json={"question": PROBATION}).json()
        assert answer["source"] == ("canned" if name == "knowledge/settings.json" else "knowledge")
        metrics = httpx.get(f"{service.url}/metrics").text
        assert ("legalqa_bundle_up 0.0" if name != "knowledge/settings.json" else "legalqa_knowledge_up 0.0") in metrics
        assert httpx.get(f"{service.url}/info").json()["problems"] == ready.json()["problems"]


def test_without_a_bundle_the_index_of_the_project_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knowledge().save(tmp_path / "knowledge")
    monkeypatch.setenv("LEGALQA_BUNDLE", str(tmp_path / "none"))
    monkeypatch.setenv("LEGALQA_KNOWLEDGE", str(tmp_path / "knowledge"))
    monkeypatch.setenv("LEGALQA_ENGINE_URL", "http://127.0.0.1:9")
    with gateway_served() as service:
        assert httpx.post(f"{service.url}/ask", json={"question": PROBATION}).json()["source"] == "knowledge"
        assert "dvc repro package" in httpx.get(f"{service.url}/readyz").json()["problems"][0]


def test_other_endpoints_answer_without_a_bundle(tmp_path: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(Prompt.load(bundle_folder))
    with engine_served(engine, tmp_path / "engine.sock") as url:
        monkeypatch.setenv("LEGALQA_BUNDLE", str(bundle_folder))
        monkeypatch.setenv("LEGALQA_ENGINE_URL", url)
        with gateway_served() as other:
            monkeypatch.setenv("LEGALQA_BUNDLE", str(tmp_path / "none"))
            monkeypatch.setenv("LEGALQA_ENGINE_URL", "http://127.0.0.1:9")
            monkeypatch.setenv("LEGALQA_ENDPOINTS", json.dumps([{"url": f"{other.url}/v1", "model": "legalqa"}]))
            wait_until(lambda: not other.gateway.engine.unavailable())
            with gateway_served() as service:
                answer = httpx.post(f"{service.url}/ask", json={"question": "押金能退吗？"}).json()
    assert (answer["source"], answer["reason"]) == ("endpoint", "loading")
    assert answer["answer"] == "依法可以主张权利。"
