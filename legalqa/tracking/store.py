"""Where runs live: the MLflow store, made once and safely, and how a run is found in it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from legalqa.problems import Problem, UserError
from legalqa.provenance import project_root

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT = "legalqa"

# MLflow's own defaults (seven tries of 120 s) would hold a command for minutes when the server is away.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


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
    with _alone(uri):
        client = MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)
        return client, _experiment(client, uri)


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """One process at a time: of several that meet a fresh database, all but one die while they create its tables."""
    if not uri.startswith("sqlite:"):
        yield
        return
    folder = tracking_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "store.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _experiment(client: "MlflowClient", uri: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        # A server knows where its artifacts belong; for our own database it would be the working directory.
        place = (project_root() / "mlartifacts").as_uri() if uri.startswith("sqlite:") else None
        try:
            return str(client.create_experiment(EXPERIMENT, artifact_location=place))
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
