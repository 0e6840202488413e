"""Outputs are written aside and renamed, so that a stage that fails leaves no half-written file under a final name."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_aside(path: Path | str) -> Iterator[Path]:
    """Yield a path beside ``path`` to write a file or fill a folder at; renamed to ``path`` when the block ends well.

    An existing file or folder of that name is replaced only then; when the block raises, it stays as it was.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        aside = room / target.name
        yield aside
        if target.is_dir() and not target.is_symlink():
            target.rename(room / "previous")
            try:
                aside.rename(target)
            except OSError:
                (room / "previous").rename(target)
                raise
        else:
            aside.replace(target)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text with LF line ends, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path | str, value: Any) -> None:
    """Write strict JSON (NaN raises ValueError), keys sorted so that equal values give equal bytes."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256(path: Path | str) -> str:
    """Hex digest of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
