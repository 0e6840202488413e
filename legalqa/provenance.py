"""What a result was made from: hashes of files, the key of a training, the git revision, versions of the libraries."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from legalqa.files import sha256

CODE = ("legalqa", "stages", "params.yaml", "dvc.yaml", "requirements.lock")
LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "accelerate", "tokenizers", "safetensors", "mlflow")


def project_root() -> Path:
    """The folder that owns the MLflow database, the artifacts and the checkpoints.

    DVC_ROOT when DVC runs us: for `dvc exp run --temp` and `--queue` it names the project, while the working directory is a
    copy that will be thrown away. Otherwise the nearest folder at or above the working directory that holds dvc.yaml.
    """
    if named := os.environ.get("DVC_ROOT"):
        return Path(named).resolve()
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), here)


def files_under(path: Path) -> list[Path]:
    """The file itself, or every file of a folder, sorted by its path with '/' between parts (the same on every system)."""
    if path.is_dir():
        return sorted((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.relative_to(path).as_posix())
    return [path]


def sha256_of_files(paths: Iterable[Path | str]) -> str:
    """One digest over files and folders: content and names, but not the place where they stand."""
    digest = hashlib.sha256()
    for path in map(Path, paths):
        for file in files_under(path):
            digest.update(f"{sha256(file)}  {file.relative_to(path.parent).as_posix()}\n".encode())
    return digest.hexdigest()


def digest_of(value: Any) -> str:
    """Hex digest of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()).hexdigest()


def train_key(train_params: dict[str, Any], base_identity: dict[str, Any], splits: Sequence[Path], code: Sequence[Path]) -> str:
    """16 hex digits that change when anything that training depends on changes.

    Names the checkpoint folder, stands in the adapter's training.json and tags the MLflow run, so that each finds the others
    without a random id.
    """
    parts = {"params": train_params, "base": base_identity, "splits": sha256_of_files(splits), "code": sha256_of_files(code)}
    return digest_of(parts)[:16]


def git_revision(paths: Sequence[str] = ()) -> tuple[str, bool]:
    """The commit checked out and whether tracked files differ from it; with ``paths``, the last commit that touched these.

    dvc.lock and reports/ don't count as differences: the run itself writes them. ("none", True) outside git.
    """
    try:
        revision = _git("log", "-1", "--format=%H", "--", *paths)
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", *(paths or (".",)), ":!dvc.lock", ":!reports")
    except (OSError, subprocess.CalledProcessError):
        return "none", True
    return revision or "none", bool(changed) or not revision


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def versions() -> dict[str, str]:
    """Installed versions of the libraries that shape a trained adapter."""
    return {name: version(name) for name in LIBRARIES}
