"""Keys that change with what they stand for, and with nothing else."""

import subprocess
from pathlib import Path

import pytest

from legalqa.provenance import digest_of, git_revision, sha256_of_files, train_key, versions


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_digest_of_files_is_the_same_wherever_they_stand(tmp_path: Path) -> None:
    files = {"splits/train.jsonl": "一\n", "splits/deep/dev.jsonl": "二\n"}
    here, there = write(tmp_path / "here", files), write(tmp_path / "there", dict(reversed(files.items())))
    assert sha256_of_files([here / "splits"]) == sha256_of_files([there / "splits"])


@pytest.mark.parametrize(
    "files", [{"splits/a": "2"}, {"splits/b": "1"}, {"splits/a": "1", "splits/c": ""}], ids=["text", "name", "more"]
)
def test_digest_of_files_changes_with_text_and_names(tmp_path: Path, files: dict[str, str]) -> None:
    old, new = write(tmp_path / "old", {"splits/a": "1"}), write(tmp_path / "new", files)
    assert sha256_of_files([old / "splits"]) != sha256_of_files([new / "splits"])


def test_train_key_changes_with_each_part(tmp_path: Path) -> None:
    write(tmp_path, {"train.jsonl": "1", "code.py": "1", "other": "2"})
    split, code, other = tmp_path / "train.jsonl", tmp_path / "code.py", tmp_path / "other"
    keys = [
        train_key({"r": 8}, {"name": "tiny"}, [split], [code]),
        train_key({"r": 9}, {"name": "tiny"}, [split], [code]),
        train_key({"r": 8}, {"name": "big"}, [split], [code]),
        train_key({"r": 8}, {"name": "tiny"}, [other], [code]),
        train_key({"r": 8}, {"name": "tiny"}, [split], [other]),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == train_key({"r": 8}, {"name": "tiny"}, [split], [code])


def test_digest_of_values_ignores_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})


def test_git_revision_follows_the_named_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path, {"code.py": "1", "README.md": "1"}))

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], check=True, capture_output=True)

    assert git_revision() == ("none", True)
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    code, _ = git_revision(["code.py"])
    write(tmp_path, {"README.md": "2"})
    assert git_revision(["code.py"]) == (code, False)
    assert git_revision()[1]
    git("commit", "-am", "readme")
    assert git_revision(["code.py"]) == (code, False)
    assert git_revision() != (code, False)
    write(tmp_path, {"code.py": "2", "dvc.lock": "written by the run"})
    assert git_revision(["code.py"]) == (code, True)


def test_versions_name_the_libraries() -> None:
    assert versions()["torch"]
