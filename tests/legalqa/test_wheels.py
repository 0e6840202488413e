"""Pinned by hash: the right file is cached, any other is refused. The index is a folder of wheels made here."""

import errno
import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from legalqa.problems import UserError
from legalqa.wheels import Wheel, fetch


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    path = folder / "some_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("some_data/data.txt", "法")
        wheel.writestr("some_data-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-data\nVersion: 1.0\n")
        wheel.writestr("some_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("some_data-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("LEGALQA_CACHE", str(tmp_path / "cache"))
    return path


def _wheel(path: Path) -> Wheel:
    return Wheel("some-data", "1.0", hashlib.sha256(path.read_bytes()).hexdigest())


def test_downloads_once(index: Path) -> None:
    wheel = _wheel(index)
    first = fetch(wheel)
    index.unlink()
    assert fetch(wheel) == first
    assert zipfile.ZipFile(first).read("some_data/data.txt").decode() == "法"


def test_damaged_copy_in_the_cache_is_fetched_anew(index: Path) -> None:
    wheel = _wheel(index)
    fetch(wheel).write_bytes(b"damaged")
    assert hashlib.sha256(fetch(wheel).read_bytes()).hexdigest() == wheel.sha256


def test_other_bytes_are_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not the pinned one"):
        fetch(Wheel("some-data", "1.0", "0" * 64))
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_no_index_is_said(index: Path) -> None:
    wheel = _wheel(index)
    index.unlink()
    with pytest.raises(UserError, match=r"some-data 1.0: could not be downloaded"):
        fetch(wheel)


def test_a_full_disk_is_no_missing_wheel(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "OSError: [Errno 28] No space left on device: 'a' -> 'b'"
    failed = subprocess.CompletedProcess([], 2, "", said)
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_more: failed)
    with pytest.raises(OSError, match="LEGALQA_CACHE") as full:
        fetch(_wheel(index))
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, str(tmp_path / "cache" / "wheels"))
