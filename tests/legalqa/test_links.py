"""Links share bytes; a swap never leaves a gap."""

import ctypes
from pathlib import Path
from typing import Any

import pytest

from legalqa.files import write_text
from legalqa.links import link, swap


@pytest.fixture(params=["in one step", "by renaming"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without the system call."""
    if request.param == "by renaming":
        monkeypatch.setattr(ctypes, "CDLL", lambda *_names, **_more: None)


def folders(root: Path) -> tuple[Path, Path]:
    write_text(root / "room/a", "new")
    write_text(root / "store/a", "old")
    return root / "room", root / "store"


def test_links_are_the_same_file(tmp_path: Path) -> None:
    write_text(tmp_path / "from/deep/a", "text")
    link(tmp_path / "from", tmp_path / "to")
    assert (tmp_path / "to/deep/a").samefile(tmp_path / "from/deep/a")


@pytest.mark.usefixtures("way")
def test_folders_change_places(tmp_path: Path) -> None:
    new, old = folders(tmp_path)
    swap(new, old)
    assert ((old / "a").read_text(), (new / "a").read_text()) == ("new", "old")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["room", "store"]


@pytest.mark.usefixtures("way")
def test_a_place_that_is_free_is_taken(tmp_path: Path) -> None:
    new, _ = folders(tmp_path)
    swap(new, tmp_path / "free")
    assert (tmp_path / "free/a").read_text() == "new"
    assert not new.exists()


def test_a_second_rename_that_fails_takes_the_first_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_names, **_more: None)
    new, old = folders(tmp_path)
    rename = Path.rename

    def refuses(path: Path, target: Any) -> Path:
        if path == new:
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuses)
    with pytest.raises(OSError, match="No space"):
        swap(new, old)
    assert (old / "a").read_text() == "old"
