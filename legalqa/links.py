"""Hard links instead of copies: another name for the same bytes on disk; and folders that change place in one step."""

import ctypes
import os
import shutil
import tempfile
from pathlib import Path

from legalqa.provenance import files_under

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # <fcntl.h>, <linux/fs.h>


def link(source: Path, target: Path) -> None:
    """Hard-link a file or every file of a folder to ``target``; copy where the file system can't link."""
    for file in files_under(source):
        goal = target / file.relative_to(source) if source.is_dir() else target
        goal.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file.resolve(), goal)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(file, goal)


def swap(new: Path, old: Path) -> None:
    """Let the folder ``new`` take the place of ``old``, which may not be there yet and else stands where ``new`` was.

    One step (Linux: renameat2), so that whoever looks, or a crash, finds one or the other. File systems that can't do it get
    two renames, the second taken back when it fails. Both must be on the same file system.
    """
    if not old.exists():
        new.rename(old)
        return
    exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if exchange and exchange(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(old), RENAME_EXCHANGE) == 0:
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{old.name}.", dir=new.parent)) / old.name
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    aside.rename(new)
    aside.parent.rmdir()
