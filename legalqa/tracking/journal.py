"""What a training has to report, one JSON event a line on disk, so that nothing is lost while the tracking server is away.

The file is locked (flock) as long as its writer lives: whoever gets the lock knows that the writer is dead, even after
kill -9. Sending a journal twice does no harm, because every event carries the time it was written.
"""

import fcntl
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, Self

from legalqa.links import link

Event = dict[str, Any]


class Journal:
    """An append-only file of events, owned by one living process."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path = path
        self._stream = stream
        self._writing = threading.Lock()
        self._cut_half_line()

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """Open or create the journal and lock it; None when a living process holds it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            stream = path.open("a+b")
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.close()
                return None
            if path.exists() and os.path.samestat(path.stat(), os.fstat(stream.fileno())):
                return cls(path, stream)
            stream.close()  # its last owner delivered and removed it between our open and our lock

    @classmethod
    def open_for_new_run(cls, path: Path) -> Self | None:
        """Like ``open``, but a journal whose run has ended steps aside, to be sent as it is."""
        journal = cls.open(path)
        if journal is None:
            return None
        events = journal.read()
        if not events or events[-1]["kind"] != "end":
            return journal
        aside = path.with_suffix(f".{events[-1]['time']}.jsonl")
        path.rename(aside)
        journal.close(delivered=False)
        return cls.open(path)

    def _cut_half_line(self) -> None:
        """A crash in the middle of a write leaves half a line, which the next event must not be glued to."""
        text = self.path.read_bytes()
        self._stream.truncate(text.rfind(b"\n") + 1)

    def write(self, kind: str, **values: Any) -> Event:
        """Append one event with the time in milliseconds since 1970; it is in the file when this returns."""
        event = {"kind": kind, "time": int(time.time() * 1000), **values}
        with self._writing:
            if not self._stream.closed:
                self._stream.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")
                self._stream.flush()
        return event

    def keep(self, source: Path) -> Path:
        """Keep a file or folder beside the journal, as a link: the original may be gone when it is sent."""
        number = len(list(self._files.iterdir())) if self._files.is_dir() else 0
        kept = self._files / str(number) / source.name
        link(source, kept)
        return kept

    @property
    def _files(self) -> Path:
        return self.path.with_suffix(".files")

    def read(self) -> list[Event]:
        """All events, oldest first."""
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").split("\n")[:-1]]

    def close(self, *, delivered: bool) -> None:
        """Give up the lock; a journal that was delivered to its end is removed first."""
        with self._writing:
            if delivered:
                shutil.rmtree(self._files, ignore_errors=True)
                self.path.unlink(missing_ok=True)
            self._stream.close()
