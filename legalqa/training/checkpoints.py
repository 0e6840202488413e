"""Checkpoints that survive `kill -9`: outside the stage outputs, in a folder named by train_key, sealed when whole.

A seal is written last and holds the hash of every file, so that a save that was interrupted is no checkpoint and a damaged
one is noticed. What is in the folder of a train_key was made by exactly these data, params, base and code.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legalqa.files import read_json, sha256, write_json
from legalqa.provenance import files_under, project_root

SEAL = "whole.json"
FINISHED = "finished"
LOCK = "lock-"  # a launcher's lock, by the rank of its host: never removed, another host may hold one
KEPT = 2  # newest checkpoints that stay besides the best


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training."""

    folder: Path

    @classmethod
    def of(cls, train_key: str) -> "Checkpoints":
        """Those of a train_key, in the project that owns the run (DVC runs experiments in copies of it)."""
        return cls(project_root() / ".cache" / "checkpoints" / train_key)

    def start(self) -> None:
        """Make the folder. A training that was published before starts anew: somebody wants it again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / FINISHED).exists():
            old = [path for path in self.folder.iterdir() if not path.name.startswith(LOCK)]
            for path in sorted(old, key=lambda path: path.name == FINISHED):  # the mark last: half a removal is done again
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def finish(self) -> None:
        """Mark the training as published, and remove those published before it."""
        (self.folder / FINISHED).touch()
        for mark in self.folder.parent.glob(f"*/{FINISHED}"):
            if mark.parent != self.folder:
                shutil.rmtree(mark.parent, ignore_errors=True)

    def unfinished_others(self) -> list[Path]:
        """Folders of trainings of other data, params, base or code that ended before they were published."""
        folders = {checkpoint.parent for checkpoint in self.folder.parent.glob("*/checkpoint-*")}
        return sorted(folder for folder in folders if folder != self.folder and not (folder / FINISHED).exists())

    def step_folder(self, step: int) -> Path:
        """Where the checkpoint of a step stands; the Trainer uses the same name."""
        return self.folder / f"checkpoint-{step}"

    def seal(self, step: int, layout: dict[str, Any]) -> None:
        """Declare a checkpoint whole. ``layout`` is what it is tied to besides the train_key, see `Job.layout`."""
        folder = self.step_folder(step)
        files = {file.relative_to(folder).as_posix(): sha256(file) for file in files_under(folder) if file.name != SEAL}
        write_json(folder / SEAL, {"files": files, "layout": layout})

    def prune(self, best: int | None) -> None:
        """Remove all but the best and the newest few."""
        steps = self._steps()
        for step in steps[:-KEPT]:
            if step != best:
                self._remove(step)

    def newest_whole(self) -> tuple[int | None, list[str]]:
        """Step of the newest whole checkpoint, and a line on each newer one that can't be used (it is removed)."""
        said: list[str] = []
        for step in reversed(self._steps()):
            trouble = self._trouble(self.step_folder(step))
            if trouble is None:
                return step, said
            said.append(f"checkpoint-{step}: {trouble}; it is removed and the one before is used")
            self._remove(step)
        return None, said

    def layout(self, step: int) -> dict[str, Any]:
        """What a whole checkpoint was made with."""
        layout: dict[str, Any] = read_json(self.step_folder(step) / SEAL)["layout"]
        return layout

    def _remove(self, step: int) -> None:
        (self.step_folder(step) / SEAL).unlink(missing_ok=True)  # first, so that half a removal leaves no whole checkpoint
        shutil.rmtree(self.step_folder(step))

    def _steps(self) -> list[int]:
        return sorted(int(path.name.rpartition("-")[2]) for path in self.folder.glob("checkpoint-*"))

    def _trouble(self, folder: Path) -> str | None:
        """Why a checkpoint can't be used, or None."""
        if not (folder / SEAL).exists():
            return "its save was interrupted"
        try:
            seal = read_json(folder / SEAL)
        except ValueError:
            return f"damaged, {SEAL} is no JSON"
        for name, digest in seal["files"].items():
            if not (folder / name).exists():
                return f"damaged, {name} is missing"
            if sha256(folder / name) != digest:
                return f"damaged, {name} has changed"
        return None
