"""The MLflow registry: versions of the model `legalqa`, and the aliases champion and previous.

Who was champion when, and why, is kept as tags of the registered model, one an event: an alias alone has no memory.
"""

import getpass
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from legalqa.files import read_json
from legalqa.problems import Problem, UserError
from legalqa.tracking.courier import send_leftovers
from legalqa.tracking.sender import out_of_reach
from legalqa.tracking.store import connect, find_runs, make_run, tracking_uri

MODEL = "legalqa"
CHAMPION, PREVIOUS = "champion", "previous"
EVENT = "event."


@dataclass(frozen=True)
class Version:
    """A registered bundle. ``bundle`` is its version in bundle and store, ``number`` MLflow's."""

    number: str
    run_id: str
    bundle: str
    tags: dict[str, str]


@dataclass(frozen=True)
class Event:
    """One change of the champion."""

    time: str
    who: str
    action: str
    number: str
    bundle: str
    why: str


class Registry:
    """Needs the tracking store: raises UserError at once when it is out of reach."""

    def __init__(self) -> None:
        try:
            send_leftovers()
            self._client, self._experiment = connect()
            self._make_model()
        except out_of_reach() as error:
            raise UserError(
                Problem(tracking_uri(), f"can't be used: {error}", fix="start that server, or unset MLFLOW_TRACKING_URI")
            ) from None

    def champion(self) -> Version | None:
        """The version that is served."""
        return self._by_alias(CHAMPION)

    def previous(self) -> Version | None:
        """The version that was served before."""
        return self._by_alias(PREVIOUS)

    def register(self, bundle: str, train_key: str, files: Mapping[str, Path], tags: Mapping[str, str]) -> Version:
        """A version for a bundle, made once; its source is the folder `bundle` of the run that trained it.

        ``files`` are copied there under their names. Raises UserError when no run of that training ended well.
        """
        for known in self._client.search_model_versions(f"name = '{MODEL}'"):
            if known.tags.get("bundle") == bundle:
                return _version(known)
        run_id = self._finished_run(train_key)
        for name, path in files.items():
            folder = "/".join(["bundle", *Path(name).parent.parts])
            self._client.log_artifact(run_id, str(path), folder)
        made = self._client.create_model_version(
            MODEL, source=f"runs:/{run_id}/bundle", run_id=run_id, tags={"bundle": bundle, "train_key": train_key, **tags}
        )
        return _version(made)

    def crown(self, version: Version, action: str, why: str) -> Event:
        """Move the alias: the champion becomes previous, ``version`` becomes champion, and the history gets an entry."""
        if old := self.champion():
            self._client.set_registered_model_alias(MODEL, PREVIOUS, old.number)
        event = Event(
            datetime.now(UTC).isoformat(timespec="seconds"), getpass.getuser(), action, version.number, version.bundle, why
        )
        for name, value in (("promoted_at", event.time), ("promoted_by", event.who), ("promoted_why", why)):
            self._client.set_model_version_tag(MODEL, version.number, name, value)
        number = len(self.history()) + 1
        self._client.set_registered_model_tag(MODEL, f"{EVENT}{number:04d}", json.dumps(vars(event), ensure_ascii=False))
        self._client.set_registered_model_alias(MODEL, CHAMPION, version.number)
        return event

    def history(self) -> list[Event]:
        """Every change of the champion, the oldest first."""
        tags: dict[str, str] = self._client.get_registered_model(MODEL).tags
        return [Event(**json.loads(tags[name])) for name in sorted(tags) if name.startswith(EVENT)]

    def read(self, version: Version, name: str) -> Any:
        """A JSON file that was registered with a version. Raises UserError when the artifact is gone."""
        from mlflow.artifacts import download_artifacts

        with tempfile.TemporaryDirectory() as folder:
            try:
                path = download_artifacts(
                    run_id=version.run_id, artifact_path=f"bundle/{name}", dst_path=folder, tracking_uri=tracking_uri()
                )
            except out_of_reach() as error:
                place = self._client.get_run(version.run_id).info.artifact_uri
                raise UserError(Problem(f"{place}/bundle/{name}", f"can't be read: {error}", "the artifact of a run")) from None
            return read_json(path)

    def run(self, run_id: str) -> Any:
        """MLflow's run: .info, .data.tags, .data.metrics, .data.params."""
        return self._client.get_run(run_id)

    def _make_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(MODEL)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _by_alias(self, alias: str) -> Version | None:
        # Searching versions would return them without their aliases.
        number = self._client.get_registered_model(MODEL).aliases.get(alias)
        return _version(self._client.get_model_version(MODEL, number)) if number else None

    def _finished_run(self, train_key: str) -> str:
        """The newest run of this training that ended well; one is made where the store has never seen the training."""
        runs = find_runs(self._client, self._experiment, train_key)
        if not runs:
            return make_run(self._client, self._experiment, train_key)
        if finished := [run for run in runs if run.info.status == "FINISHED"]:
            return str(finished[0].info.run_id)
        found = ", ".join(f"{run.info.run_id} is {run.info.status}" for run in runs)
        raise UserError(Problem(f"MLflow runs of training {train_key}", found, "one that is FINISHED", "dvc repro -f train"))


def _version(found: Any) -> Version:
    return Version(str(found.version), str(found.run_id), found.tags["bundle"], dict(found.tags))
