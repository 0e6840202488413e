"""What a base model is: its name, where it came from, and the hash of its weights."""

import hashlib
import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from legalqa.files import read_json, write_json
from legalqa.problems import Problem, UserError

IDENTITY_FILE = "identity.json"


class Identity(BaseModel):
    """identity.json of a base folder.

    ``sha256`` is over all weight files in the order of their names; ``parameters`` counts the stored weights (a tied output
    matrix once); ``revision`` is a commit of the hub, or empty; ``licence`` is "unknown" when nothing says it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: Literal["packaged", "hub", "local"]
    revision: str = ""
    sha256: str
    licence: str = "unknown"
    architecture: str
    parameters: int

    @classmethod
    def of(
        cls, folder: Path | str, name: str, source: Literal["packaged", "hub", "local"], revision: str = "", licence: str = ""
    ) -> "Identity":
        """Read it off a plain folder's config and weights. Raises UserError when there are no weights."""
        weights = weight_files(folder)
        config: dict[str, Any] = read_json(Path(folder) / "config.json")
        return cls(
            name=name,
            source=source,
            revision=revision,
            sha256=_sha256(weights),
            licence=licence or "unknown",
            architecture=next(iter(config.get("architectures") or [config["model_type"]])),
            parameters=sum(_parameters(path) for path in weights),
        )

    @classmethod
    def load(cls, folder: Path | str) -> "Identity":
        """Read identity.json. Raises UserError when it is missing or damaged."""
        path = Path(folder) / IDENTITY_FILE
        try:
            return cls.model_validate(read_json(path))
        except FileNotFoundError:
            raise UserError(Problem(str(path), "missing", fix="dvc repro base")) from None
        except (ValidationError, ValueError) as error:
            raise UserError(Problem(str(path), f"damaged: {error}", fix="dvc repro -f base")) from None

    def save(self, folder: Path | str) -> None:
        """Write identity.json into the folder."""
        write_json(Path(folder) / IDENTITY_FILE, self.model_dump())


def weight_files(folder: Path | str) -> list[Path]:
    """The safetensors files of a plain folder, by name. Raises UserError when there are none."""
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise UserError(Problem(str(folder), "no weights", "*.safetensors files"))
    return files


def _sha256(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _parameters(path: Path) -> int:
    """Elements of all tensors, from the header alone (8 bytes of length, then JSON)."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, Any] = json.loads(stream.read(length))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
