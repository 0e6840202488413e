"""Files of a pinned commit, over HTTP from a hub on this machine."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from legalqa.base import hub, space
from legalqa.problems import UserError
from tests.legalqa.base.conftest import COMMIT, Hub


@pytest.fixture
def repository(tiny: Path, tmp_path: Path, local_hub: Hub) -> Path:
    folder = tmp_path / "repository"
    shutil.copytree(tiny, folder)
    (folder / "modeling_own.py").write_text("raise SystemExit", encoding="utf-8")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    local_hub.repositories["someone/tiny"] = folder
    return folder


def test_snapshot_takes_no_code_and_no_pickle(repository: Path, local_hub: Hub) -> None:
    snapshot = hub.snapshot("someone/tiny", COMMIT)
    names = {path.name for path in snapshot.folder.iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert (snapshot.folder / "model.safetensors").read_bytes() == (repository / "model.safetensors").read_bytes()
    assert snapshot.licence == "mit"
    assert constants.HF_HUB_OFFLINE, "offline again afterwards"


def test_pickle_is_taken_where_there_is_nothing_else(repository: Path) -> None:
    (repository / "model.safetensors").unlink()
    assert (hub.snapshot("someone/tiny", COMMIT).folder / "pytorch_model.bin").exists()


def test_file_is_downloaded_once(repository: Path, local_hub: Hub) -> None:
    first = hub.file("someone/tiny", "config.json", COMMIT)
    local_hub.repositories.clear()
    assert hub.file("someone/tiny", "config.json", COMMIT) == first


@pytest.mark.parametrize(
    ("name", "revision", "said"),
    [
        ("someone/other", COMMIT, "no such repository"),
        ("someone/tiny", "f" * 40, "no such commit"),
        ("not a name", COMMIT, "owner/name"),
    ],
)
def test_what_the_hub_has_not(repository: Path, name: str, revision: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        hub.snapshot(name, revision)


def test_file_missing_at_the_commit(repository: Path) -> None:
    with pytest.raises(UserError, match="a file is missing there"):
        hub.file("someone/tiny", "model.gguf", COMMIT)


def test_no_hub_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="the hub can't be reached"):
        hub.snapshot("someone/tiny", COMMIT)


def test_disk_too_small(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"GB free.*set HF_HOME"):
        space.need(tmp_path / "cache", 1 << 60, "set HF_HOME to another disk")
