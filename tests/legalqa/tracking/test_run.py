"""Runs as people meet them in the MLflow UI: complete, found again, and with the status that is true."""

import json
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from legalqa.files import read_json, sha256
from legalqa.problems import UserError
from legalqa.tracking import add_to_run, courier, train_run
from legalqa.tracking.store import connect, find_runs, tracking_folder

KEY = "0123456789abcdef"
NOBODY = "http://127.0.0.1:9"

SERVER = multiprocessing.get_context("forkserver")  # imports MLflow once; its children start at once
SERVER.set_forkserver_preload(["mlflow.store.tracking.sqlalchemy_store", "legalqa.tracking"])


def train(project: str, key: str, end: str, trained: Any) -> None:
    """Train in a process of its own, and come to the given end."""
    os.environ["DVC_ROOT"] = project
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    with train_run(key, {"learning_rate": 0.1, "lora": {"r": 8}}) as run:
        for step in range(20):
            run.log({"loss": 1 / (step + 1)}, step)
        while not run.id:
            time.sleep(0.01)
        trained.set()
        if end == "exit 1":
            sys.exit(1)
        if end == "wait":
            time.sleep(60)


def training(project: Path, key: str, end: str) -> tuple[Any, Any]:
    """The process, and the event that it sets when it has trained."""
    trained = SERVER.Event()
    process = SERVER.Process(target=train, args=(str(project), key, end, trained))
    process.start()
    return process, trained


def runs(key: str = KEY) -> list[Any]:
    return find_runs(*connect(), key)


def only_run(key: str = KEY) -> Any:
    (run,) = runs(key)
    return run


def artifact(run: Any, name: str) -> Any:
    return read_json(Path(run.info.artifact_uri.removeprefix("file://")) / name)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No pauses between tries, a short wait at the end."""
    monkeypatch.setattr(courier, "LAST_WAIT", 3.0)
    monkeypatch.setattr(courier, "FIRST_PAUSE", 0.05)
    return


def test_a_run_has_all_that_was_reported(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "brave-newt")
    data = project / "train.jsonl"
    data.write_text("{}\n{}\n", encoding="utf-8")
    params = {"base": {"name": "Qwen/Qwen2.5-0.5B"}, "lora": {"r": 8}, "learning_rate": 1e-4}
    with train_run(KEY, params, {"raw_sha256": "ab"}, [data]) as run:
        run.log({"loss": 2.0, "grad_norm": math.nan}, 1)
        run.log({"loss": 1.0}, 2)
        run.artifact(data, "data")
        run.tag("layout", "packed")
        run.params({"zero": {"stage": 2}})
    found = only_run()
    assert found.info.run_id == run.id
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "brave-newt r8 lr0.0001 Qwen2.5-0.5B"
    assert found.data.params == {"base.name": "Qwen/Qwen2.5-0.5B", "lora.r": "8", "learning_rate": "0.0001", "zero.stage": "2"}
    tags = {"train_key": KEY, "raw_sha256": "ab", "layout": "packed", "DVC_EXP_NAME": "brave-newt", "git_revision": "none"}
    assert tags.items() <= found.data.tags.items()
    client, _ = connect()
    assert [(point.step, point.value) for point in client.get_metric_history(run.id, "loss")] == [(1, 2.0), (2, 1.0)]
    assert [file.path for file in client.list_artifacts(run.id, "data")] == ["data/train.jsonl"]
    (dataset,) = found.inputs.dataset_inputs
    assert dataset.dataset.digest == sha256(data)[:36]
    assert json.loads(dataset.dataset.profile) == {"lines": 2}
    assert list(tracking_folder().glob("*.jsonl")) == []


def test_long_strange_and_many_params_survive(project: Path) -> None:
    params = {
        "提示": "长" * 7000,
        "停用词": [f"词{number}" for number in range(2000)],
        "民法（婚姻）": 1,
        "nothing": None,
        "nested": [[1, 2], ["三"]],
        "empty": {},
        **{f"leaf{number}": number for number in range(300)},
    }
    with train_run(KEY, params) as run:
        run.tag("长", "字" * 9000)
    found = only_run()
    assert found.data.params["nothing"] == "null"
    assert found.data.params["nested"] == '[[1, 2], ["三"]]'
    assert found.data.params["leaf299"] == "299"
    assert "7000 characters; whole in the artifact params.json" in found.data.params["提示"]
    assert artifact(found, "params.json") == params
    assert "whole in the artifact tags.json" in found.data.tags["长"]
    assert artifact(found, "tags.json")["长"] == "字" * 9000


def test_equal_value_in_another_spelling_is_no_change(project: Path) -> None:
    with pytest.raises(RuntimeError), train_run(KEY, {"rate": 1e-05}):
        raise RuntimeError
    with train_run(KEY, {"rate": "0.00001"}) as run:
        run.params({"rate": 0.00001})
    assert only_run().info.status == "FINISHED"


def test_changed_settings_make_a_new_linked_run(project: Path) -> None:
    with pytest.raises(RuntimeError), train_run(KEY, {"rate": 0.1}):
        raise RuntimeError
    with train_run(KEY, {"rate": 0.2}):
        pass
    new, old = runs()
    assert (new.data.params["rate"], old.data.params["rate"]) == ("0.2", "0.1")
    assert new.data.tags["continues"] == old.info.run_id


def test_a_second_value_within_a_run_is_kept_as_a_tag(project: Path) -> None:
    with train_run(KEY, {"rate": 0.1}) as run:
        run.params({"rate": 0.2})
    assert only_run().data.params["rate"] == "0.1"
    assert only_run().data.tags["changed.rate"] == "0.2"


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (RuntimeError(), "FAILED"),
        (SystemExit(1), "FAILED"),
        (SystemExit("message"), "FAILED"),
        (SystemExit(0), "FINISHED"),
        (SystemExit(128 + signal.SIGTERM), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
    ],
    ids=repr,
)
def test_status_says_how_it_ended(project: Path, end: BaseException, status: str) -> None:
    with pytest.raises(type(end)), train_run(KEY, {}):
        raise end
    assert only_run().info.status == status


def test_signals_and_kill_9(project: Path) -> None:
    ends = {"sigterm": signal.SIGTERM, "sigint": signal.SIGINT, "sigkill": signal.SIGKILL}
    started = {key: training(project, key, "wait") for key in ends} | {"exit": training(project, "exit", "exit 1")}
    for _, trained in started.values():
        assert trained.wait(60)
    for key, number in ends.items():
        os.kill(started[key][0].pid, number)
    for process, _ in started.values():
        process.join(60)
        assert process.exitcode != 0
    assert [only_run(key).info.status for key in started] == ["KILLED", "KILLED", "RUNNING", "FAILED"]
    with train_run(KEY, {}):  # the next start finds the dead one
        pass
    dead = only_run("sigkill")
    assert dead.info.status == "KILLED"
    assert dead.data.metrics["loss"] == 1 / 20


def test_six_at_once_on_a_fresh_database(fresh_project: Path) -> None:
    started = {f"key{number}": training(fresh_project, f"key{number}", "") for number in range(6)}
    for process, _ in started.values():
        process.join(120)
        assert process.exitcode == 0
    client, _ = connect()
    for key in started:
        run = only_run(key)
        assert run.info.status == "FINISHED"
        assert run.data.params == {"learning_rate": "0.1", "lora.r": "8"}
        assert len(client.get_metric_history(run.info.run_id, "loss")) == 20
    assert list(tracking_folder().glob("*.jsonl")) == []


def test_killed_training_goes_on_in_its_run(project: Path) -> None:
    with pytest.raises(KeyboardInterrupt), train_run(KEY, {"rate": 0.1}) as run:
        run.log({"loss": 2.0}, 1)
        raise KeyboardInterrupt
    with train_run(KEY, {"rate": 0.1}) as again:
        again.log({"loss": 1.0}, 2)
    assert only_run().info.status == "FINISHED"
    client, _ = connect()
    assert [point.step for point in client.get_metric_history(only_run().info.run_id, "loss")] == [1, 2]


def test_repeated_training_is_a_run_of_its_own(project: Path) -> None:
    for _ in range(2):
        with train_run(KEY, {}):
            pass
    assert [run.info.status for run in runs()] == ["FINISHED", "FINISHED"]


def test_the_same_training_twice_at_once_is_refused(project: Path) -> None:
    with train_run(KEY, {}), pytest.raises(UserError, match="running already"), train_run(KEY, {}):
        pass


def test_only_the_first_rank_reports(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with train_run(KEY, {}) as run:
        run.log({"loss": 1.0}, 1)
    assert run.id == ""
    assert runs() == []


def test_scores_join_the_run_of_their_training(project: Path) -> None:
    with train_run(KEY, {}) as trained:
        pass
    with add_to_run(KEY, "evaluate") as run:
        run.log({"tuned.rouge": 0.3}, 0)
    assert run.id == trained.id
    assert only_run().data.metrics == {"tuned.rouge": 0.3}
    assert only_run().info.status == "FINISHED"


def test_scores_of_a_training_that_came_out_of_the_cache_get_a_run(project: Path) -> None:
    with add_to_run(KEY, "evaluate") as run:
        run.log({"tuned.rouge": 0.3}, 0)
    assert only_run().info.status == "FINISHED"


@pytest.mark.usefixtures("impatient")
def test_training_goes_on_without_a_server_and_is_sent_later(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    started = time.time()
    picture = project / "loss.png"
    picture.write_text("picture", encoding="utf-8")
    with train_run(KEY, {"rate": 0.1}) as run:
        run.log({"loss": 2.0}, 1)
        run.artifact(picture)
    picture.unlink()
    said = capsys.readouterr().err
    assert f"{NOBODY} can't be used now" in said
    assert f"{KEY}.jsonl keeps it" in said
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with add_to_run("another", "evaluate"):
        pass
    found = only_run()
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"loss": 2.0}
    assert {file.path for file in connect()[0].list_artifacts(found.info.run_id)} == {"loss.png", "params.json"}
    assert [path.name for path in tracking_folder().iterdir()] == ["store.lock"]
    assert found.info.start_time / 1000 == pytest.approx(started, abs=1)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_comes_back_gets_everything(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    with train_run(KEY, {"rate": 0.1}) as run:
        run.log({"loss": 2.0}, 1)
        time.sleep(0.2)
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        run.log({"loss": 1.0}, 2)
        run.params({"later": 1})
    assert only_run().data.metrics == {"loss": 1.0}
    assert only_run().data.params == {"rate": "0.1", "later": "1"}
    assert only_run().info.status == "FINISHED"


@pytest.mark.usefixtures("impatient")
def test_an_artifact_that_is_gone_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with train_run(KEY, {}) as run:
        run.artifact("loss.png")
    assert f"{project / 'loss.png'} is gone" in capsys.readouterr().err
    assert only_run().info.status == "FINISHED"


def test_what_mlflow_refuses_is_said_and_passed_over(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with train_run(KEY, {}) as run:
        run.log({"": 1.0}, 1)
        run.log({"loss": 1.0}, 2)
    assert "mlflow: refused metrics" in capsys.readouterr().err
    assert only_run().data.metrics == {"loss": 1.0}


@pytest.mark.parametrize("uri", ["file:./mlruns", "mlruns", "file:///tmp/mlruns"])
def test_a_file_store_is_refused_with_the_way_out(project: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match="unset MLFLOW_TRACKING_URI"), train_run(KEY, {}):
        pass
