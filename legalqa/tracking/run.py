"""The run that a stage writes to: start, metrics, artifacts, and an end that says the truth."""

import getpass
import os
import platform
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from legalqa.files import sha256
from legalqa.problems import Problem, UserError
from legalqa.provenance import git_revision, versions
from legalqa.tracking.courier import Courier
from legalqa.tracking.journal import Event, Journal
from legalqa.tracking.sender import flat
from legalqa.tracking.store import tracking_folder, tracking_uri

EXPERIMENT_TAGS = ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_STAGE")
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Run:
    """Takes what a stage reports. Nothing here waits for the server or fails because of it."""

    def __init__(self, courier: Courier | None) -> None:
        self._courier = courier

    @property
    def id(self) -> str:
        """MLflow's id of the run; empty until the server has answered."""
        return self._courier.run_id if self._courier else ""

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Add a point to each curve."""
        self._post("metrics", values={name: float(value) for name, value in metrics.items()}, step=step)

    def artifact(self, path: Path | str, folder: str = "") -> None:
        """Copy a file or a folder to the run, below ``folder``."""
        self._post("artifact", path=str(Path(path).resolve()), folder=folder)

    def params(self, params: dict[str, Any]) -> None:
        """Add params; nested ones get dotted keys."""
        self._post("params", values=flat(params))

    def tag(self, name: str, value: str) -> None:
        """Set a tag."""
        self._post("tags", values={name: value})

    def _post(self, kind: str, **values: Any) -> None:
        if self._courier:
            self._courier.post(kind, **values)


@contextmanager
def train_run(
    train_key: str, params: dict[str, Any], tags: dict[str, str] | None = None, datasets: Sequence[Path] = (), name: str = ""
) -> Iterator[Run]:
    """The run of one training; goes on with an unfinished run of the same train_key.

    FINISHED when the block ends well, KILLED after SIGTERM or Ctrl-C, FAILED after any other exception; kill -9 is noticed at
    the next start. In a process group only rank 0 reports. Raises UserError when this training is running already, or when
    the tracking URI is one that can never work.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        yield Run(None)
        return
    leaves = flat(params)
    tracking_uri()  # refuses what can never work before anything starts
    courier = _courier(Journal.open_for_new_run(tracking_folder() / f"{train_key}.jsonl"), watch_system=True)
    courier.post(
        "start",
        own=True,
        name=name or _name(train_key, leaves, tags or {}),
        params=leaves,
        tags=_standard_tags() | {"train_key": train_key} | (tags or {}),
        datasets=[_dataset(path) for path in datasets],
    )
    status = "FAILED"
    try:
        with _signals_raise():
            yield Run(courier)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except SystemExit as stop:
        stopped = {128 + number for number in (signal.SIGINT, *STOP_SIGNALS)}
        status = "KILLED" if stop.code in stopped else "FINISHED" if not stop.code else "FAILED"
        raise
    finally:
        courier.post("end", status=status)
        courier.finish()


@contextmanager
def add_to_run(train_key: str, part: str) -> Iterator[Run]:
    """Add to the newest run of a training, whatever its status: scores, reports. ``part`` names who adds.

    A store that has never seen this training (the adapter came out of DVC's cache) gets a run for it.
    """
    tracking_uri()
    courier = _courier(Journal.open(tracking_folder() / f"{train_key}.{part}.jsonl"), watch_system=False)
    courier.post("start", own=False, name="", params={}, tags={"train_key": train_key}, datasets=[])
    try:
        yield Run(courier)
    finally:
        courier.finish()


def _courier(journal: Journal | None, *, watch_system: bool) -> Courier:
    if journal is None:
        raise UserError(Problem(str(tracking_folder()), "the same training is running already", fix="wait for it, or stop it"))
    return Courier(journal, watch_system=watch_system)


def _standard_tags() -> dict[str, str]:
    revision, dirty = git_revision()
    found = {name: os.environ[name] for name in EXPERIMENT_TAGS if os.environ.get(name)}
    libraries = {f"version.{library}": number for library, number in versions().items()}
    return {
        "mlflow.user": getpass.getuser(),
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.git.commit": revision,
        "git_revision": revision,
        "git_dirty": str(dirty).lower(),
        "host": platform.node(),
        "version.python": platform.python_version(),
        **libraries,
        **found,
    }


def _name(train_key: str, leaves: dict[str, Any], tags: dict[str, str]) -> str:
    """A name people find: base, rank, rate, and the name that DVC gave the experiment."""

    def leaf(*endings: str) -> str:
        return next(
            (
                f"{value:g}" if isinstance(value, float) else str(value)
                for key, value in leaves.items()
                if key.endswith(endings)
            ),
            "",
        )

    base = (tags.get("base") or leaf("base.name")).rpartition("/")[2]
    rank, rate = leaf("lora.r"), leaf("learning_rate")
    # What tells runs apart comes first: MLflow's list shows some twenty letters.
    parts = [os.environ.get("DVC_EXP_NAME", ""), rank and f"r{rank}", rate and f"lr{rate}", base]
    return " ".join(filter(None, parts)) or train_key


def _dataset(path: Path) -> Event:
    rows = path.read_bytes().count(b"\n")
    name = "/".join(path.parts[-2:])
    return {"name": name, "path": path.as_posix(), "sha256": sha256(path), "profile": {"lines": rows}}


@contextmanager
def _signals_raise() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind the stack like Ctrl-C, unless somebody else handles them; signals belong to the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    ours = [number for number in STOP_SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
