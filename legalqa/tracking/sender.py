"""Events of a journal -> MLflow. Every event may be sent twice: MLflow keeps one of two equal ones."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legalqa.tracking.journal import Event
from legalqa.tracking.store import find_runs, make_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

LONGEST_PARAM = 6000  # MLflow cuts longer values without a word
LONGEST_TAG = 8000
PARAMS_FILE, TAGS_FILE = "params.json", "tags.json"
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS")


def out_of_reach() -> tuple[type[BaseException], ...]:
    """What MLflow raises when its server or database can't be used now."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, OSError)


def say(text: str) -> None:
    """One line for the person at the terminal."""
    print(f"mlflow: {text}", file=sys.stderr, flush=True)


class Sender:
    """Sends the events of one run, in order; knows the run once it has been found or made."""

    def __init__(self, client: "MlflowClient", experiment: str) -> None:
        self._client = client
        self._experiment = experiment
        self._params: dict[str, Any] = {}
        self._tags: dict[str, str] = {}
        self.run_id = ""

    def send(self, events: Sequence[Event]) -> None:
        """Raises one of ``out_of_reach()`` when the store is away; says what it refuses for good and passes over it."""
        from mlflow.exceptions import MlflowException

        at = 0
        while at < len(events):
            upto = at + 1
            if events[at]["kind"] == "metrics":  # a training logs thousands: send them together
                while upto < len(events) and events[upto]["kind"] == "metrics":
                    upto += 1
            try:
                getattr(self, f"_send_{events[at]['kind']}")(*events[at:upto])
            except MlflowException as error:
                if error.error_code not in REFUSALS:
                    raise
                if upto - at > 1:  # one of them is at fault, the others must arrive
                    for event in events[at:upto]:
                        self.send([event])
                else:
                    say(f"refused {events[at]['kind']}: {error.message}")
            at = upto

    def _send_start(self, event: Event) -> None:
        """Go on with the unfinished run of this train_key, or make one. Settings that changed since make a new one."""
        tags = dict(event["tags"])
        if not self.run_id:
            runs = find_runs(self._client, self._experiment, tags["train_key"])
            if event["own"]:
                runs = [run for run in runs if run.info.status != "FINISHED"]
                if runs and (changed := _changed(runs[0].data.params, event["params"])):
                    say(f"{', '.join(changed)} changed: a new run, linked to {runs[0].info.run_id}")
                    tags["continues"] = runs[0].info.run_id
                    runs = []
            self.run_id = runs[0].info.run_id if runs else self._make(event, tags["train_key"])
        if event["own"]:
            self._client.update_run(self.run_id, status="RUNNING")
        self._send_tags({"values": tags})
        self._send_params({"values": event["params"]})
        self._log_datasets(event["datasets"])

    def _make(self, event: Event, train_key: str) -> str:
        if not event["own"]:
            return make_run(self._client, self._experiment, train_key)
        tags = {"train_key": train_key}
        run = self._client.create_run(self._experiment, start_time=event["time"], tags=tags, run_name=event["name"])
        return str(run.info.run_id)

    def _send_params(self, event: Event) -> None:
        """Params are write-once in MLflow: an equal value in another spelling is fine, another value becomes a tag."""
        from mlflow.entities import Param

        if not event["values"]:
            return
        self._params |= event["values"]
        self._client.log_dict(self.run_id, self._params, PARAMS_FILE)
        known = self._client.get_run(self.run_id).data.params
        shown = {_key(name): _param(value) for name, value in event["values"].items()}
        self._client.log_batch(self.run_id, params=[Param(key, text) for key, text in shown.items() if key not in known])
        if changed := _changed(known, event["values"]):
            self._send_tags({"values": {f"changed.{name}": _param(event["values"][name]) for name in changed}})

    def _send_tags(self, event: Event) -> None:
        from mlflow.entities import RunTag

        self._tags |= event["values"]
        shown = {_key(name): _fitting(value, LONGEST_TAG, TAGS_FILE) for name, value in event["values"].items()}
        if list(shown.values()) != list(event["values"].values()):
            self._client.log_dict(self.run_id, self._tags, TAGS_FILE)
        self._client.log_batch(self.run_id, tags=[RunTag(key, text) for key, text in shown.items()])

    def _log_datasets(self, datasets: list[Event]) -> None:
        from mlflow.entities import Dataset, DatasetInput

        inputs = [
            DatasetInput(
                Dataset(d["name"], d["sha256"][:36], "local", json.dumps({"uri": d["path"]}), None, json.dumps(d["profile"]))
            )
            for d in datasets
        ]
        if inputs:
            self._client.log_inputs(self.run_id, inputs)

    def _send_metrics(self, *events: Event) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(_key(name), value, e["time"], e["step"]) for e in events for name, value in e["values"].items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def _send_artifact(self, event: Event) -> None:
        path = Path(event["path"])
        if not path.exists():
            say(f"{path} is gone: it can't be added to run {self.run_id}")
        elif path.is_dir():
            self._client.log_artifacts(self.run_id, str(path), "/".join(filter(None, (event["folder"], path.name))))
        else:
            self._client.log_artifact(self.run_id, str(path), event["folder"] or None)

    def _send_end(self, event: Event) -> None:
        self._client.set_terminated(self.run_id, event["status"], event["time"])


def flat(params: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested params with dotted keys; a list stays one value."""
    leaves: dict[str, Any] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        leaves |= flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return leaves


def _changed(known: dict[str, str], params: dict[str, Any]) -> list[str]:
    """Names whose value in the run is another one; 1e-05 and 0.00001 are equal."""
    return [name for name, value in params.items() if _key(name) in known and not _equal(known[_key(name)], _param(value))]


def _equal(one: str, other: str) -> bool:
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False


def _param(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _fitting(text, LONGEST_PARAM, PARAMS_FILE)


def _fitting(text: str, longest: int, file: str) -> str:
    return text if len(text) <= longest else f"{text[:200]}... ({len(text)} characters; whole in the artifact {file})"


def _key(name: str) -> str:
    """MLflow takes letters of any script, digits, blanks and _-./: and no more than 250; the files keep the true name."""
    return re.sub(r"[^/\w.\- :]", "_", name)[:250]
