"""models/bundle: everything that answering needs in one folder, and the manifest that vouches for it.

    base/ adapter/ knowledge/     as their stages wrote them
    prompt.json tokenizer.json    the template it was trained with
    generation.json               the settings it was scored with
    params.json                   the params of training and evaluation
    evaluation/                   its scores, and the score of each test question
    README.md                     the model card
    manifest.json                 sha256 and size of every other file, and what all of it was made from

No times and no absolute paths, so that the same inputs give the same bytes. Big files are hard links to the stages' own:
never write into one, and beware that DVC makes them read-only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from legalqa.base.identity import Identity
from legalqa.files import read_json, sha256, write_json, write_text, written_aside
from legalqa.links import link
from legalqa.problems import Problem, UserError
from legalqa.prompt import Prompt
from legalqa.provenance import files_under

MANIFEST_FILE = "manifest.json"
CARD_FILE = "README.md"
GENERATION_FILE = "generation.json"
CONFIG_FILE = "params.json"
SCORES_FILE = "evaluation/scores.json"  # "arm.score" -> value
ITEMS_FILE = "evaluation/items.json"  # arm -> score -> test question -> value


class FileEntry(BaseModel):
    """One file of the bundle; ``size`` in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    size: int


class Origin(BaseModel):
    """What the bundle was made from.

    ``revision`` is the last commit that touched code or params, ``dirty`` whether they differed from it. ``data`` maps each
    data file to its sha256, raw CSV first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_key: str
    revision: str
    dirty: bool
    base: Identity
    template: str
    data: dict[str, str]


class Manifest(Origin):
    """manifest.json."""

    format: int = 1
    files: dict[str, FileEntry]


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk."""

    folder: Path
    manifest: Manifest

    @classmethod
    def build(
        cls,
        target: Path | str,
        parts: Mapping[str, Path],
        prompt: Prompt,
        documents: Mapping[str, Any],
        card: str,
        origin: Origin,
    ) -> "Bundle":
        """Write the bundle, whole or not at all.

        ``parts`` maps names in the bundle to files or folders that are linked into it; ``documents`` maps names to JSON values.
        """
        with written_aside(target) as aside:
            aside.mkdir()
            for name, source in parts.items():
                link(source, aside / name)
            prompt.save(aside)
            for name, value in documents.items():
                write_json(aside / name, value)
            write_text(aside / CARD_FILE, card)
            manifest = Manifest(**dict(origin), files={name: _entry(path) for name, path in _files(aside).items()})
            write_json(aside / MANIFEST_FILE, manifest.model_dump())
        return cls(Path(target), manifest)

    @classmethod
    def open(cls, folder: Path | str, *, verify: bool = True) -> "Bundle":
        """Read a bundle. With ``verify`` every file is hashed; raises UserError that names each missing or changed one."""
        folder = Path(folder)
        path = folder / MANIFEST_FILE
        try:
            manifest = Manifest.model_validate(read_json(path))
        except FileNotFoundError:
            raise UserError(Problem(str(path), "missing", "a bundle", "dvc repro package")) from None
        except (ValidationError, ValueError) as error:
            raise UserError(Problem(str(path), f"damaged: {error}", fix="dvc repro -f package")) from None
        problems = [
            Problem(str(folder / name), trouble, fix="restore the bundle: dvc checkout, or promote it again")
            for name, entry in manifest.files.items()
            if (trouble := _trouble(folder / name, entry, verify=verify))
        ]
        if problems:
            raise UserError(
                problems, f"{folder}: {len(problems)} of {len(manifest.files)} files are not what the manifest says"
            )
        return cls(folder, manifest)

    @property
    def base(self) -> Path:
        """The base model's folder."""
        return self.folder / "base"

    @property
    def adapter(self) -> Path:
        """The LoRA adapter's folder."""
        return self.folder / "adapter"

    @property
    def knowledge(self) -> Path:
        """The folder of statutes, passages and index."""
        return self.folder / "knowledge"

    @cached_property
    def prompt(self) -> Prompt:
        """Template and tokenizer."""
        return Prompt.load(self.folder)

    @property
    def generation(self) -> dict[str, Any]:
        """The generation settings it was scored with."""
        settings: dict[str, Any] = read_json(self.folder / GENERATION_FILE)
        return settings

    @cached_property
    def sha256(self) -> str:
        """Digest of the manifest, and so of the whole bundle."""
        return sha256(self.folder / MANIFEST_FILE)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.manifest.files.values())

    @property
    def version(self) -> str:
        """The bundle's name in registry and model store: the first 12 digits of its digest."""
        return self.sha256[:12]


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in files_under(folder)}


def _entry(path: Path) -> FileEntry:
    return FileEntry(sha256=sha256(path), size=path.stat().st_size)


def _trouble(path: Path, entry: FileEntry, *, verify: bool) -> str:
    if not path.is_file():
        return "missing"
    if path.stat().st_size != entry.size:
        return f"changed: {path.stat().st_size} bytes instead of {entry.size}"
    return "changed: another sha256" if verify and sha256(path) != entry.sha256 else ""
