"""The Hugging Face hub, or a mirror of it named by HF_ENDPOINT: files at a pinned commit, never code.

The project is offline towards the hub (see legalqa/__init__.py); only the functions here go out, for their own length.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import logging as hub_logging

from legalqa.base import space
from legalqa.problems import Problem, UserError

WANTED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True)
class Snapshot:
    """A repository's files at one commit, and the licence that its card names (or "")."""

    folder: Path
    licence: str


def file(repository: str, name: str, revision: str) -> Path:
    """One file at a commit, from the hub's own cache or downloaded. Raises UserError when it can't be had."""
    with _online(repository, revision):
        return Path(hf_hub_download(repository, name, revision=revision, endpoint=_endpoint()))


def snapshot(repository: str, revision: str) -> Snapshot:
    """What a plain folder is made from: config, tokenizer and weights; safetensors when there are any, else ``.bin``.

    Raises UserError when the hub has no such commit, can't be reached, or the disk is too small.
    """
    with _online(repository, revision):
        info = HfApi(endpoint=_endpoint()).model_info(repository, revision=revision, files_metadata=True)
        sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or [] if "/" not in sibling.rfilename}
        weights = [n for n in sizes if n.endswith(".safetensors")] or [n for n in sizes if n.endswith(".bin")]
        names = [name for name in sizes if name in (*WANTED, *weights) or name.endswith(".index.json")]
        space.need(Path(constants.HF_HUB_CACHE), sum(sizes[name] for name in names), "set HF_HOME to another disk")
        folder = snapshot_download(repository, revision=revision, allow_patterns=names, endpoint=_endpoint())
    card = info.card_data
    return Snapshot(Path(folder), str(card.get("license") or "") if card else "")


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


@contextmanager
def _online(repository: str, revision: str) -> Iterator[None]:
    """Let the hub's library out, and say in one sentence why it failed."""
    before, verbosity = constants.HF_HUB_OFFLINE, hub_logging.get_verbosity()
    constants.HF_HUB_OFFLINE = False
    hub_logging.set_verbosity(logging.ERROR)  # not a warning for each of its five tries
    print(f"asking {_endpoint()} for {repository}", flush=True)
    where = f"{repository} at {revision} ({_endpoint()})"
    try:
        yield
    except GatedRepoError:
        fix = "ask for access on its page, then set HF_TOKEN"
        raise UserError(Problem(where, "its owner gives it only to those who asked", fix=fix)) from None
    except RepositoryNotFoundError:
        raise UserError(Problem(where, "no such repository", fix="check base.name; a private one needs HF_TOKEN")) from None
    except RevisionNotFoundError:
        raise UserError(Problem(where, "no such commit", fix="take base.revision from the repository's history")) from None
    except RemoteEntryNotFoundError as error:
        raise UserError(Problem(where, f"a file is missing there: {error}")) from None
    except HFValidationError as error:
        raise UserError(Problem(where, str(error), "owner/name")) from None
    except (HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError):
        fix = "check the network; HF_ENDPOINT names a mirror"
        raise UserError(Problem(where, "the hub can't be reached", fix=fix)) from None
    finally:
        constants.HF_HUB_OFFLINE = before
        hub_logging.set_verbosity(verbosity)
