"""Where runs live: found from everywhere, still there after a move, never in a place MLflow has given up."""

import shutil
from pathlib import Path

import pytest

from legalqa.provenance import project_root
from legalqa.tracking import train_run
from legalqa.tracking.store import connect, find_runs, tracking_uri

KEY = "0123456789abcdef"


def test_default_is_a_database_in_the_project_folder(fresh_project: Path) -> None:
    assert tracking_uri() == f"sqlite:///{fresh_project}/mlflow.db"


def test_a_relative_database_is_taken_from_the_project_folder(fresh_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs/mine.db")
    assert tracking_uri() == f"sqlite:///{fresh_project}/runs/mine.db"


def test_the_project_is_found_from_a_folder_below(fresh_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT")
    (fresh_project / "dvc.yaml").touch()
    (fresh_project / "deep/er").mkdir(parents=True)
    monkeypatch.chdir(fresh_project / "deep/er")
    assert project_root() == fresh_project


def test_an_experiment_in_a_copy_writes_to_the_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = project / ".dvc/tmp/exps/tmp1"
    copy.mkdir(parents=True)
    (copy / "dvc.yaml").touch()
    monkeypatch.chdir(copy)  # DVC_ROOT still names the project
    with train_run(KEY, {}):
        pass
    assert list(copy.iterdir()) == [copy / "dvc.yaml"]
    assert len(find_runs(*connect(), KEY)) == 1


def test_artifacts_follow_a_moved_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "loss.png").write_text("picture", encoding="utf-8")
    with train_run(KEY, {}) as run:
        run.artifact("loss.png")

    moved = project / "搬 家 #2"
    moved.mkdir()
    for name in ("mlflow.db", "mlartifacts"):
        shutil.copytree(project / name, moved / name) if (project / name).is_dir() else shutil.copy(project / name, moved)
    shutil.rmtree(project / "mlartifacts")
    monkeypatch.setenv("DVC_ROOT", str(moved))
    client, experiment = connect()
    assert [file.path for file in client.list_artifacts(run.id)] == ["loss.png"]
    assert client.get_experiment(experiment).artifact_location == (moved / "mlartifacts").as_uri()


def test_a_deleted_experiment_comes_back(project: Path) -> None:
    client, experiment = connect()
    client.delete_experiment(experiment)
    with train_run(KEY, {}):
        pass
    assert len(find_runs(*connect(), KEY)) == 1
