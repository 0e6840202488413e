"""A bundle says what is in it, and notices what is not."""

import json
import os
from pathlib import Path

import pytest

from legalqa.base.identity import Identity
from legalqa.bundle import Bundle, Origin
from legalqa.files import read_json, sha256, write_text
from legalqa.problems import UserError
from legalqa.prompt import Prompt
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "base")


def build(base: Path, target: Path) -> Bundle:
    write_text(target.parent / "adapter/adapter_model.safetensors", "weights")
    parts = {"base": base, "adapter": target.parent / "adapter"}
    origin = Origin(train_key="k", revision="r", dirty=False, base=Identity.load(base), template="chatml", data={"raw": "hash"})
    documents = {"generation.json": {"max_new_tokens": 8}}
    return Bundle.build(target, parts, Prompt.from_base(base), documents, "card\n", origin)


@pytest.fixture
def bundle(base: Path, tmp_path: Path) -> Bundle:
    return build(base, tmp_path / "bundle")


def test_manifest_names_every_file_with_hash_and_size(bundle: Bundle) -> None:
    files = {path.relative_to(bundle.folder).as_posix(): path for path in bundle.folder.rglob("*") if path.is_file()}
    manifest = read_json(files.pop("manifest.json"))
    assert manifest["files"] == {name: {"sha256": sha256(p), "size": p.stat().st_size} for name, p in files.items()}
    assert manifest["base"]["name"] == "tiny"


def test_the_base_is_not_stored_twice(bundle: Bundle, base: Path) -> None:
    assert (bundle.base / "model.safetensors").samefile(base / "model.safetensors")


def test_copies_where_the_file_system_cannot_link(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    bundle = build(base, tmp_path / "bundle")
    assert sha256(bundle.base / "model.safetensors") == sha256(base / "model.safetensors")


def test_opens_with_all_that_answering_needs(bundle: Bundle) -> None:
    opened = Bundle.open(bundle.folder)
    assert opened.manifest == bundle.manifest
    assert opened.version == bundle.version == sha256(bundle.folder / "manifest.json")[:12]
    assert opened.prompt.decode(opened.prompt.encode("离婚")) == "离婚"
    assert opened.generation == {"max_new_tokens": 8}


def test_same_inputs_same_bytes_wherever_it_stands(bundle: Bundle, base: Path, tmp_path: Path) -> None:
    again = build(base, tmp_path / "elsewhere" / "bundle")
    assert again.sha256 == bundle.sha256
    assert str(tmp_path) not in json.dumps(read_json(bundle.folder / "manifest.json"))


def test_every_missing_and_changed_file_is_named(bundle: Bundle) -> None:
    (bundle.folder / "README.md").write_text("hacked", encoding="utf-8")
    (bundle.folder / "prompt.json").unlink()
    (bundle.folder / "generation.json").write_bytes((bundle.folder / "generation.json").read_bytes().replace(b"8", b"9"))
    with pytest.raises(UserError) as caught:
        Bundle.open(bundle.folder)
    said = str(caught.value)
    assert "README.md: changed: 6 bytes instead of 5" in said
    assert "prompt.json: missing" in said
    assert "generation.json: changed: another sha256" in said


def test_without_verifying_sizes_still_count(bundle: Bundle) -> None:
    (bundle.folder / "README.md").write_text("hacked", encoding="utf-8")
    with pytest.raises(UserError, match=r"README\.md"):
        Bundle.open(bundle.folder, verify=False)


@pytest.mark.parametrize(("text", "said"), [(None, "missing"), ("{", "damaged"), ("{}", "damaged")])
def test_no_manifest_no_bundle(bundle: Bundle, text: str | None, said: str) -> None:
    path = bundle.folder / "manifest.json"
    path.unlink()
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        Bundle.open(bundle.folder)


def test_a_build_that_fails_leaves_the_old_bundle(bundle: Bundle, base: Path) -> None:
    before = bundle.sha256
    with pytest.raises(ValueError, match="JSON"):
        Bundle.build(bundle.folder, {}, Prompt.from_base(base), {"x.json": float("nan")}, "", bundle.manifest)
    assert Bundle.open(bundle.folder).sha256 == before


def test_read_only_inputs_are_no_obstacle(base: Path, tmp_path: Path) -> None:
    weights = base / "model.safetensors"
    weights.chmod(0o444)
    build(base, tmp_path / "bundle")
    build(base, tmp_path / "bundle")
    weights.chmod(0o644)
