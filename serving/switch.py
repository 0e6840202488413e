"""The operator's switch: what may answer. A file beats the admin API, which beats the environment; every change is audited."""

import json
import logging
import time
from pathlib import Path
from typing import Literal, get_args

log = logging.getLogger("legalqa.switch")

Mode = Literal["auto", "llm_only", "knowledge_only", "canned_only", "drain"]
MODES: tuple[str, ...] = get_args(Mode)


class Switch:
    """The mode now. The file is looked at on every question, so it works when nothing else does any more.

    The file holds one word, or JSON {"mode": word, "reason": text}; missing or empty means that it says nothing. A word that is
    no mode changes nothing; ``problem`` says so until there is a better one.
    """

    def __init__(self, environment: Mode = "auto", file: Path | None = None, audit_log: Path | None = None) -> None:
        self._environment = environment
        self._file = file
        self._audit_log = audit_log
        self._unreadable = self._nonsense = ""
        self._stamp: tuple[int, int] | None = None
        self._from_file: Mode | None = None
        self._from_admin: tuple[Mode, float] | None = None

    @property
    def problem(self) -> str:
        """Why what the file says now has no effect; "" when it has."""
        return self._unreadable or self._nonsense

    @property
    def mode(self) -> Mode:
        """The mode in force, by precedence."""
        self._read_file()
        if self._from_admin and time.monotonic() >= self._from_admin[1]:
            self._from_admin = None
            self._audit("admin", "expired", actor="clock")
        return self._from_file or (self._from_admin[0] if self._from_admin else self._environment)

    @property
    def origin(self) -> Literal["file", "admin", "environment"]:
        """Who set the mode in force."""
        mode = self.mode
        if self._from_file == mode:
            return "file"
        return "admin" if self._from_admin else "environment"

    @property
    def ttl_s(self) -> float | None:
        """Seconds for which the admin API's mode is still in force; None where another one is."""
        return round(self._from_admin[1] - time.monotonic(), 1) if self._from_admin and self.origin == "admin" else None

    def set(self, mode: Mode, ttl_s: float, actor: str, reason: str) -> None:
        """By the admin API, for ``ttl_s`` seconds; then the environment's mode holds again."""
        self._from_admin = (mode, time.monotonic() + ttl_s)
        self._audit("admin", mode, actor=actor, reason=reason, ttl_s=ttl_s)

    def note_breaker(self, state: str, actor: str) -> None:
        """Put what the admin API did to the model's breaker into the audit log, too."""
        self._audit("admin", f"breaker {state}", actor=actor)

    def _read_file(self) -> None:
        if not self._file:
            return
        try:
            status = self._file.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp == self._stamp:
                self._unreadable = ""
                return
            text = self._file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            self._unreadable = self._nonsense = ""
            if self._stamp is not None:
                self._stamp, self._from_file = None, None
                self._audit("file", "removed", actor="file")
            return
        except (OSError, UnicodeDecodeError) as error:
            self._unreadable = self._nothing_changed(f"can't be read: {error}")
            return
        self._stamp, self._unreadable = stamp, ""
        mode, reason = _parse(text)
        if text and mode not in MODES:
            self._nonsense = self._nothing_changed(f"says {mode[:40]!r}; expected one of {', '.join(MODES)}")
            return
        self._nonsense = ""
        self._from_file = mode if text else None  # type: ignore[assignment]
        self._audit("file", mode or "empty", actor="file", reason=reason)

    def _nothing_changed(self, why: str) -> str:
        problem = f"switch file {self._file} {why}; nothing changed"
        if problem != self.problem:
            log.warning("%s", problem)
        return problem

    def _audit(self, origin: str, change: str, actor: str, reason: str = "", ttl_s: float | None = None) -> None:
        entry = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "origin": origin, "mode": change, "actor": actor}
        entry |= {"reason": reason} if reason else {}
        line = json.dumps(entry | ({"ttl_s": ttl_s} if ttl_s else {}), ensure_ascii=False)
        log.warning("switch %s", line)
        if self._audit_log:
            try:
                with self._audit_log.open("a", encoding="utf-8") as lines:
                    lines.write(line + "\n")
            except OSError as error:  # the switch has to work when the disk does not
                log.error("audit log %s can't be written: %s", self._audit_log, error)


def _parse(text: str) -> tuple[str, str]:
    if text.startswith("{"):
        try:
            value = json.loads(text)
            return str(value.get("mode", "")), str(value.get("reason", ""))
        except ValueError:
            return text, ""
    return text, ""
