"""Where runs live: the MLflow store, made once and safely, and how a run is found in it."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from legalqa.problems import Problem, UserError
from legalqa.provenance import project_root

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT = "legalqa"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # the UI shows runs and curves, not chat traces
ARTIFACT_COLUMNS = {"experiments": "artifact_location", "runs": "artifact_uri"}

# MLflow's own defaults (seven tries of 120 s) would hold a command for minutes when the server is away.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # its bar is for models of gigabytes


def tracking_folder() -> Path:
    """Journals and locks: beside the database, out of reach of DVC, which deletes outputs."""
    return project_root() / ".cache" / "tracking"


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else mlflow.db in the project's root; a relative sqlite path is taken from that root.

    Raises UserError for a file store, which MLflow no longer serves.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if uri.startswith("sqlite:///"):
        return f"sqlite:///{project_root() / uri.removeprefix('sqlite:///')}"
    if urlsplit(uri).scheme in ("", "file"):
        raise UserError(
            Problem(
                "MLFLOW_TRACKING_URI",
                f"{uri} is a file store, which MLflow has given up",
                "sqlite:///<file>.db or http(s)://<server>",
                "unset MLFLOW_TRACKING_URI: mlflow.db in the project folder is used then "
                "(`mlflow migrate-filestore` copies old runs into a database)",
            )
        )
    return uri


def connect() -> tuple["MlflowClient", str]:
    """A client and the id of the experiment. Raises whatever MLflow raises when the store is out of reach."""
    from mlflow import MlflowClient

    uri = tracking_uri()
    place = {"tracking_uri": uri, "registry_uri": os.environ.get("MLFLOW_REGISTRY_URI") or uri}
    if not uri.startswith("sqlite:///"):
        client = MlflowClient(**place)
        return client, _experiment(client, artifacts=None)  # a server knows where its artifacts belong
    database = Path(uri.removeprefix("sqlite:///"))
    artifacts = (database.parent / "mlartifacts").as_uri()
    with _alone():
        if database.exists():
            _follow_a_move(database, artifacts)
        client = MlflowClient(**place)  # makes the tables
        return client, _experiment(client, artifacts)


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time: of several that meet a fresh database, all but one die while they create its tables."""
    folder = tracking_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "store.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _follow_a_move(database: Path, artifacts: str) -> None:
    """Artifacts live beside their database, but MLflow writes their absolute path into it: mend that after a move."""
    with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables >= ARTIFACT_COLUMNS.keys():
            return
        found = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", [EXPERIMENT]).fetchone()
        if found is None or found[0] == artifacts:
            return
        for table, column in ARTIFACT_COLUMNS.items():
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE instr({column}, ?) = 1",
                [artifacts, len(found[0]) + 1, found[0]],
            )


def _experiment(client: "MlflowClient", artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        try:
            return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts, tags=EXPERIMENT_TAGS))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(EXPERIMENT)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def find_runs(client: "MlflowClient", experiment: str, train_key: str) -> list["Run"]:
    """All runs of a training, the newest first."""
    condition = f"tags.train_key = '{train_key}'"
    return list(client.search_runs([experiment], condition, order_by=["attributes.start_time DESC"]))


def make_run(client: "MlflowClient", experiment: str, train_key: str) -> str:
    """A finished run for a training that this store has not seen: its adapter came out of DVC's cache. Returns its id."""
    run = client.create_run(experiment, tags={"train_key": train_key}, run_name=f"{train_key} (from cache)")
    client.set_terminated(run.info.run_id, "FINISHED")
    return str(run.info.run_id)
