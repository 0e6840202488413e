"""Fixtures that several rooms share."""

import shutil
from pathlib import Path

import pytest

import legalqa  # noqa: F401  (sets the quiet environment before any tool is imported)


@pytest.fixture
def fresh_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, no database yet, and the working directory."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables without an experiment of ours: making them takes seconds, copying them none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def project(fresh_project: Path, empty_database: Path) -> Path:
    """A project folder with an empty database."""
    shutil.copy(empty_database, fresh_project / "mlflow.db")
    return fresh_project
