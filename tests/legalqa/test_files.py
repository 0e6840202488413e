"""Whole or not at all."""

from pathlib import Path

import pytest

from legalqa.files import read_json, sha256, write_json, write_text, written_aside


def test_block_that_raises_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), written_aside(tmp_path / "a.txt") as aside:
        aside.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_folder_is_replaced_whole(tmp_path: Path) -> None:
    for names in (["one", "two"], ["three"]):
        with written_aside(tmp_path / "folder") as aside:
            aside.mkdir()
            for name in names:
                (aside / name).touch()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["three"]


def test_nothing_written_leaves_the_old_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").touch()
    with pytest.raises(FileNotFoundError), written_aside(tmp_path / "folder"):
        pass
    assert (tmp_path / "folder" / "kept").exists()


def test_json_is_strict_and_repeats(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "法"})
    write_json(tmp_path / "b.json", {"a": "法", "b": 1})
    assert sha256(tmp_path / "a.json") == sha256(tmp_path / "b.json")
    assert read_json(tmp_path / "a.json") == {"a": "法", "b": 1}
    assert "法" in (tmp_path / "a.json").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "c.json", {"x": float("nan")})
    assert not (tmp_path / "c.json").exists()
