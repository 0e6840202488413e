"""From what is served back to the rows of the raw file: bundle, run, training, splits, conversations, records."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from legalqa.bundle import MANIFEST_FILE, Manifest
from legalqa.files import sha256
from legalqa.params import Params
from legalqa.provenance import sha256_of_files
from legalqa.records import read_jsonl
from legalqa.tracking.registry import Registry, Version

SHOWN = 3  # conversations of each split; `trace-all` shows every one


def lines(registry: Registry, version: Version, params: Params, *, everything: bool) -> Iterator[str]:
    """The line of evidence behind a registered version, from the top down; runs in the project's root.

    The rows can be shown only where the data on disk is still the data of the bundle; otherwise the line says what differs.
    """
    manifest = Manifest.model_validate(registry.read(version, MANIFEST_FILE))
    run = registry.run(version.run_id)
    yield f"champion      version {version.number}, {version.tags.get('promoted_at')} by {version.tags.get('promoted_by')}"
    yield f"  why         {version.tags.get('promoted_why')}"
    yield f"bundle        {version.bundle}, {len(manifest.files)} files, template {manifest.template}"
    yield f"  base        {manifest.base.name} ({manifest.base.licence}), sha256 {manifest.base.sha256}"
    yield f"  adapter     sha256 {manifest.files['adapter/adapter_model.safetensors'].sha256}"
    yield f"  code        git {manifest.revision}{' with uncommitted changes' if manifest.dirty else ''}"
    yield f"run           {run.info.run_name} ({run.info.run_id}), {run.info.status}"
    yield f"  artifacts   {run.info.artifact_uri}"
    yield f"training      train_key {manifest.train_key}"
    places = {
        "raw": Path(params.data.source),
        "conversations": Path("data/conversations.jsonl"),
        "splits": Path("data/splits"),
    }
    same = {name: _found(path) == manifest.data[name] for name, path in places.items()}
    for name, path in places.items():
        here = "as on disk" if same[name] else "not what is on disk now" if path.exists() else "not on disk"
        yield f"{name:13} {path}, sha256 {manifest.data[name]}, {here}"
    if not same["splits"]:
        yield "the rows can't be shown: git checkout the commit that keeps its dvc.lock (git log -- dvc.lock) and dvc checkout"
        yield f"bring their data back; the code was that of git {manifest.revision}"
        return
    for split in ("train", "dev", "test"):
        yield from _rows(places["splits"] / f"{split}.jsonl", everything=everything)


def _rows(path: Path, *, everything: bool) -> Iterator[str]:
    conversations = read_jsonl(path)
    records = sum(len(c.records) for c in conversations)
    yield f"  {path.stem:11} {len(conversations)} conversations from {records} records of the raw file"
    shown = conversations if everything else conversations[:SHOWN]
    for conversation in shown:
        numbers = ", ".join(map(str, conversation.records))
        yield f"    record {numbers:12} {' '.join(conversation.question.split())[:60]}"
    if len(shown) < len(conversations):
        yield f"    ... {len(conversations) - len(shown)} more (trace-all shows them)"


def _found(path: Path) -> str:
    digest: Callable[[Any], str] = sha256 if path.is_file() else lambda folder: sha256_of_files([folder])
    return digest(path) if path.exists() else ""
