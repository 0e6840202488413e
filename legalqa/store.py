"""The BentoML model store: where the service finds its model. `legalqa:champion` is what it serves.

Entries are folders of hard links to the bundle's files, so that another champion costs no disk.
"""

from pathlib import Path

import bentoml
from bentoml.exceptions import NotFound

from legalqa.bundle import Bundle
from legalqa.links import link
from legalqa.problems import Problem, UserError

NAME = "legalqa"
CHAMPION = f"{NAME}:champion"


def add(bundle: Bundle) -> str:
    """Put a bundle in the store as legalqa:<version>; returns that tag. A whole one that is there already stays."""
    tag = f"{NAME}:{bundle.version}"
    _put(tag, bundle)
    return tag


def crown(version: str) -> None:
    """Make `legalqa:champion` hold the files of legalqa:<version>. Raises UserError when the store lacks that version."""
    folder = _folder(f"{NAME}:{version}")
    if folder is None:
        raise UserError(
            Problem(f"{NAME}:{version}", "not in the BentoML store", fix="dvc checkout its revision, then make promote")
        )
    _put(CHAMPION, Bundle.open(folder))


def champion() -> Bundle | None:
    """The bundle that is served, unverified; None when there is none yet."""
    folder = _folder(CHAMPION)
    return Bundle.open(folder, verify=False) if folder else None


def _folder(tag: str) -> Path | None:
    try:
        return Path(bentoml.models.get(tag).path)
    except NotFound:
        return None


def _put(tag: str, bundle: Bundle) -> None:
    """Let the entry hold the bundle's files; one that holds other or damaged files is made anew."""
    if (folder := _folder(tag)) is not None:
        if _holds(folder, bundle):
            return
        bentoml.models.delete(tag)
    labels = {"version": bundle.version, "train_key": bundle.manifest.train_key, "revision": bundle.manifest.revision}
    with bentoml.models.create(tag, labels=labels, metadata=bundle.manifest.base.model_dump()):
        pass  # BentoML would copy what is put in here; the links are made in its final place
    folder = Path(bentoml.models.get(tag).path)
    try:
        link(bundle.folder, folder)
    except OSError:
        bentoml.models.delete(tag)
        raise


def _holds(folder: Path, bundle: Bundle) -> bool:
    try:
        return Bundle.open(folder).version == bundle.version
    except UserError:
        return False
