"""The BentoML model store: where the service finds its model. `legalqa:champion` is what it serves.

Entries are folders of hard links to the bundle's files, so that another champion costs no disk.
"""

import re
import shutil
import tempfile
from pathlib import Path

import bentoml
from bentoml.exceptions import NotFound

from legalqa.bundle import Bundle
from legalqa.files import write_text
from legalqa.links import link, swap
from legalqa.problems import Problem, UserError

NAME = "legalqa"
CROWN = "champion"
CHAMPION = f"{NAME}:{CROWN}"
CARD = "model.yaml"  # BentoML's own, names the entry


def add(bundle: Bundle) -> str:
    """Put a bundle in the store as legalqa:<version>; returns that tag.

    A whole one that is there already stays; one with damaged files is made anew.
    """
    tag = f"{NAME}:{bundle.version}"
    if (folder := _folder(tag)) is not None:
        if _is_whole(folder):
            return tag
        bentoml.models.delete(tag)
    labels = {"version": bundle.version, "train_key": bundle.manifest.train_key, "revision": bundle.manifest.revision}
    with bentoml.models.create(tag, labels=labels, metadata=bundle.manifest.base.model_dump()):
        pass  # BentoML would copy what is put in here; the links are made in its final place
    try:
        link(bundle.folder, Path(bentoml.models.get(tag).path))
    except OSError:
        bentoml.models.delete(tag)
        raise
    return tag


def crown(version: str) -> None:
    """Make `legalqa:champion` hold the files of legalqa:<version>.

    It is built beside the store and changes places with the old one in one step: whenever the service looks, there is a whole
    champion. Raises UserError when the store lacks that version or its files were changed.
    """
    folder = _folder(f"{NAME}:{version}")
    if folder is None:
        raise UserError(
            Problem(
                f"{NAME}:{version}",
                "not in the BentoML store",
                fix="git checkout the commit that keeps its dvc.lock, dvc checkout, make promote",
            )
        )
    Bundle.open(folder)
    store = folder.parents[1]
    room = Path(tempfile.mkdtemp(prefix=".legalqa-champion-", dir=store.parent))  # inside, BentoML would take it for a model
    try:
        link(folder, room / CROWN)
        card = (folder / CARD).read_text(encoding="utf-8")
        write_text(room / CROWN / CARD, re.sub(r"(?m)^version: .*$", f"version: {CROWN}", card))
        swap(room / CROWN, folder.parent / CROWN)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def champion() -> Bundle | None:
    """The bundle that is served, unverified; None when there is none yet."""
    folder = _folder(CHAMPION)
    return Bundle.open(folder, verify=False) if folder else None


def _folder(tag: str) -> Path | None:
    try:
        return Path(bentoml.models.get(tag).path)
    except NotFound:
        return None


def _is_whole(folder: Path) -> bool:
    try:
        Bundle.open(folder)
    except UserError:
        return False
    return True
