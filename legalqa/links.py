"""Hard links instead of copies: another name for the same bytes on disk."""

import os
import shutil
from pathlib import Path

from legalqa.provenance import files_under


def link(source: Path, target: Path) -> None:
    """Hard-link a file or every file of a folder to ``target``; copy where the file system can't link."""
    for file in files_under(source):
        goal = target / file.relative_to(source) if source.is_dir() else target
        goal.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file.resolve(), goal)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(file, goal)
