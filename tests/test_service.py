"""`bentoml serve` and `bentoml build` for real: processes, sockets, signals, a fresh environment."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies

from legalqa import store
from legalqa.bundle import Bundle
from tests.serving.bundles import PROBATION, PROBATION_ANSWER, bundle
from tests.serving.test_fuzz import BODIES, RAW, SCALAR, TEXT, UNLIMITED

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
START_S = 120.0


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("bundle"), with_adapter=True)


def wait_until(true: Callable[[], bool], seconds: float, why: str) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, why
        time.sleep(0.1)


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    http: httpx.Client
    log: Path

    def model(self) -> str:
        try:
            return str(self.http.get("/healthz/engine", timeout=5).json()["model"])
        except httpx.TransportError:
            return "no server"

    def wait_for_model(self) -> None:
        wait_until(lambda: self.model() == "ready", START_S, self.log.read_text(encoding="utf-8"))

    def ask(self, question: str = PROBATION, **more: object) -> httpx.Response:
        return self.http.post("/ask", json={"question": question, "max_tokens": 24, **more})

    def workers(self) -> list[psutil.Process]:
        """What BentoML has started."""
        return psutil.Process(self.process.pid).children()

    def engine_pids(self) -> tuple[int, int]:
        """The parent that starts it again, and the one that holds the model."""
        (parent,) = [worker for worker in self.workers() if "legalqa-engine" in worker.cmdline()]
        (engine,) = parent.children()
        return parent.pid, engine.pid


@contextmanager
def running(command: list[str], log: Path, cwd: Path, **environment: str) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    given = os.environ | {"BENTOML_PORT": port, "PORT": port, "BENTOML_DO_NOT_TRACK": "True"} | environment
    given = {name: value for name, value in given.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=cwd, env=given, stdout=out, stderr=out)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            yield Server(process, http, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def server(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("serve")
    command = ["bash", "-c", f"exec {BIN}/bentoml serve --port $PORT"]
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    for old, new in UNLIMITED:
        params = params.replace(old, new)
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    variables = {"LEGALQA_BUNDLE": bundle_folder, "LEGALQA_PARAMS": folder / "params.yaml", "BENTOML_HOME": folder / "home"}
    with running(command, folder / "log", ROOT, **{name: str(path) for name, path in variables.items()}) as started:
        yield started


def test_answers_while_the_model_loads_and_then_by_the_model(server: Server) -> None:
    wait_until(lambda: server.model() != "no server", START_S, "no gateway")
    if (early := server.ask()).headers["x-answer-source"] != "tuned":
        assert (early.json()["reason"], early.json()["answer"]) == ("loading", PROBATION_ANSWER)
    server.wait_for_model()
    response = server.ask(temperature=1.0, seed=5)
    assert (response.headers["x-answer-source"], response.json()["ai_generated"]) == ("tuned", True)


def test_official_client(server: Server) -> None:
    server.wait_for_model()
    with openai.OpenAI(base_url=f"{server.http.base_url}/v1", api_key="none", max_retries=0) as client:
        asked: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "借款利息怎么算？"}]
        whole = client.chat.completions.create(model="legalqa", messages=asked, max_tokens=24, temperature=0)
        stream = client.chat.completions.create(model="legalqa", messages=asked, max_tokens=24, temperature=0, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert whole.choices[0].message.content == text
    assert "\ufffd" not in text


def test_bulk_gives_a_result_or_an_error_an_item(server: Server) -> None:
    server.wait_for_model()
    items = [
        {"question": PROBATION, "id": "a", "max_tokens": 8},
        {"question": " ", "id": "b"},
        {"question": "利息？", "max_tokens": -1},
    ]
    results = server.http.post("/bulk", json={"items": items}).json()
    assert [bool(result["error"]) for result in results] == [False, True, True]
    assert [result["id"] for result in results] == ["a", "b", ""]
    assert results[0]["result"]["answer"]
    for wrong in ({"items": [{"question": ["SECRET"]}]}, {"items": "SECRET"}):
        refused = server.http.post("/bulk", json=wrong)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_body")
    assert "SECRET" not in server.log.read_text(encoding="utf-8")


def test_many_clients_at_once_each_get_their_own_items_back(server: Server) -> None:
    """BentoML puts items of several requests into one batch, and cuts a request of more items than that holds."""
    server.wait_for_model()

    def bulk(client: int) -> list[str]:
        items = [{"question": PROBATION, "id": f"{client}-{n}", "max_tokens": 4} for n in range(40 if client == 0 else 7)]
        results = server.http.post("/bulk", json={"items": items}).json()
        assert all(result["result"]["answer"] for result in results)
        return [result["id"] for result in results]

    with ThreadPoolExecutor(6) as clients:
        got = list(clients.map(bulk, range(6)))
    assert got == [[f"{client}-{n}" for n in range(40 if client == 0 else 7)] for client in range(6)]
    sizes = server.http.get("/metrics").text
    assert "legalqa_bulk_batch_size_bucket" in sizes


def test_no_bulk_body_gives_500(server: Server) -> None:
    """Through BentoML, by its own document and by bodies of any shape."""
    server.wait_for_model()
    document = server.http.get("/openapi.json").json()
    document["paths"] = {"/bulk": document["paths"]["/bulk"]}
    (operation,) = schemathesis.openapi.from_dict(document).get_all_operations()
    item = strategies.fixed_dictionaries({"question": TEXT}, optional={"id": SCALAR, "max_tokens": SCALAR, "x": SCALAR})
    shaped = strategies.fixed_dictionaries({"items": strategies.one_of(SCALAR, strategies.lists(item, max_size=3))})

    @settings(max_examples=BODIES // 2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategies.one_of(operation.ok().as_strategy().map(lambda case: case.body), shaped, RAW))
    def fuzz(body: Any) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body, default=str).encode("utf-8", "surrogatepass")
        response = server.http.post("/bulk", content=content, headers={"content-type": "application/json"})
        assert response.status_code in (200, 400), response.text
        if response.status_code == 400:
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}

    fuzz()
    assert server.ask().status_code == 200


def test_health_page_and_metrics(server: Server) -> None:
    server.wait_for_model()
    assert server.http.get("/livez").status_code == 200
    ready = server.http.get("/readyz")
    assert (ready.status_code, ready.json()["model"]) == (200, "ready")
    assert "<title>法律问答</title>" in server.http.get("/").text
    assert "legalqa_num_requests_running" in server.http.get("/metrics").text
    assert server.http.get("/schema.json").json()["name"] == "legalqa"


def test_only_the_engine_holds_torch(server: Server) -> None:
    server.wait_for_model()
    with_torch = [worker.pid for worker in server.workers() if any("libtorch" in m.path for m in worker.memory_maps())]
    assert with_torch == [server.engine_pids()[0]]
    assert len(server.workers()) == 2


def test_a_stopped_engine_is_noticed_and_comes_back(server: Server) -> None:
    server.wait_for_model()
    _, engine = server.engine_pids()
    os.kill(engine, signal.SIGSTOP)
    try:
        assert server.ask().status_code == 200  # not the model's, and not after the model's whole deadline
        wait_until(lambda: server.model() == "unavailable", 10, "not noticed")
        answer = server.ask().json()
        assert (answer["source"], answer["reason"]) == ("knowledge", "unavailable")
    finally:
        os.kill(engine, signal.SIGCONT)
    server.wait_for_model()
    wait_until(lambda: server.ask(temperature=1.0, seed=5).json()["source"] == "tuned", 30, "the model did not come back")


@pytest.mark.parametrize("whom", ["engine", "parent"])
def test_a_killed_engine_is_covered_and_started_again(server: Server, whom: str) -> None:
    server.wait_for_model()
    before = server.engine_pids()
    os.kill(before[whom == "engine"], signal.SIGKILL)
    answer = server.ask()
    assert (answer.status_code, answer.json()["source"]) == (200, "knowledge")
    wait_until(lambda: server.model() != "ready", 10, "not noticed")
    assert server.http.get("/readyz").status_code == 200
    server.wait_for_model()
    wait_until(lambda: server.ask(temperature=1.0, seed=5).json()["source"] == "tuned", 30, "the model did not come back")
    after = server.engine_pids()
    assert (after[0] == before[0], after[1] == before[1]) == (whom == "engine", False)


def test_a_terminated_service_finishes_its_answers(server: Server) -> None:
    server.wait_for_model()
    messages = [{"role": "user", "content": "借款利息怎么算？"}]
    body = {"model": "legalqa", "messages": messages, "stream": True, "max_tokens": 1024, "temperature": 1.0, "seed": 2}
    with server.http.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = response.iter_lines()
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        assert "data: [DONE]" in list(lines)
    assert server.process.wait(60) == 0


def test_wrong_settings_and_params_are_one_message_and_no_start(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("  deadline_s:", "  deadline:"), encoding="utf-8")
    given = {"LEGALQA_PARAMS": str(tmp_path / "params.yaml"), "LEGALQA_ENDPOINTS": '[{"api_key": "sk-secret"'}
    command = [str(BIN / "bentoml"), "serve", "--port", "1"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | given, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "did you mean deadline_s?" in said and "LEGALQA_ENDPOINTS" in said and "the service was not started" in said
    assert "Traceback" not in said and "sk-secret" not in said


def test_without_a_bundle_it_starts_answers_and_says_what_to_do(tmp_path: Path) -> None:
    command = ["bash", "-c", f"exec {BIN}/bentoml serve --port $PORT"]
    with running(command, tmp_path / "log", ROOT, BENTOML_HOME=str(tmp_path / "home")) as started:
        wait_until(lambda: started.model() == "no_model", START_S, "no gateway")
        answer = started.ask()
        assert (answer.status_code, answer.json()["reason"]) == (200, "no_model")
        assert "make repro" in started.http.get("/readyz").json()["problems"][0]
        assert "make repro" in started.log.read_text(encoding="utf-8")


def test_bento_answers_from_an_environment_of_its_own(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, unpacked, venv = tmp_path / "home", tmp_path / "bento", tmp_path / "venv"
    environment = os.environ | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}

    def run(*command: str | Path, cwd: Path = ROOT) -> None:
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    code = "from pathlib import Path; from tests.test_service import crown; crown(Path({!r}))"
    run(sys.executable, "-c", code.format(str(bundle_folder)))
    run(BIN / "bentoml", "build")
    run(BIN / "bentoml", "export", "legalqa:latest", tmp_path / "x.tar")
    shutil.unpack_archive(tmp_path / "x.tar", unpacked)
    requirements = (unpacked / "env/python/requirements.txt").read_text(encoding="utf-8")
    assert "://" not in requirements and "torch==" in requirements
    text_files = [path for path in unpacked.rglob("*") if path.suffix in (".py", ".yaml", ".txt", ".json", ".sh")]
    assert not [path for path in text_files if str(ROOT) in path.read_text(encoding="utf-8", errors="replace")]
    run(BIN / "uv", "venv", "--quiet", "--python", sys.executable, venv)
    links = os.environ.get("PIP_FIND_LINKS", "")
    more = ["--find-links", links] if links else []
    run(
        BIN / "uv",
        "pip",
        "install",
        "--quiet",
        *more,
        "--python",
        venv / "bin/python",
        "-r",
        unpacked / "env/python/requirements.txt",
    )
    path = f"{venv / 'bin'}:/usr/bin:/bin"
    command = ["bash", str(unpacked / "env/docker/entrypoint.sh")]
    with running(
        command, tmp_path / "log", unpacked, PATH=path, BENTO_PATH=str(unpacked), BENTOML_HOME=str(tmp_path / "empty")
    ) as server:
        (tmp_path / "empty").mkdir()
        server.wait_for_model()
        assert server.ask(temperature=1.0, seed=5).headers["x-answer-source"] == "tuned"
        assert server.http.get("/info").json()["bundle"]["version"] == Bundle.open(bundle_folder, verify=False).version


def crown(folder: Path) -> None:
    """Make a bundle the champion of the BentoML store that BENTOML_HOME names."""
    opened = Bundle.open(folder)
    store.add(opened)
    store.crown(opened.version)
