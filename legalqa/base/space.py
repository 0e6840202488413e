"""Room on the disk, asked for before gigabytes are written."""

import shutil
from pathlib import Path

from legalqa.problems import Problem, UserError


def need(folder: Path, size: int, fix: str = "free some space") -> None:
    """Raise UserError when the disk of ``folder`` (made when missing) has less than ``size`` bytes free."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(Problem(str(folder), f"{free / 1e9:.1f} GB free", f"{size / 1e9:.1f} GB for the base model", fix))
