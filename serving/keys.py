"""API keys: the file keeps their hashes only; each has scopes, and limits of its own where it needs them.

`python -m serving.keys new NAME [--scopes ask,bulk] [--file keys.json]` makes one, shows it once and adds its hash to the file.
"""

import argparse
import hashlib
import hmac
import json
import logging
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from legalqa.files import write_json
from legalqa.problems import Problem, UserError
from legalqa.stage import stage

log = logging.getLogger("legalqa.keys")

Scope = Literal["ask", "bulk", "admin"]
PREFIX = "lq"


class Key(BaseModel):
    """One entry of the file. ``id`` is part of the key and may be logged; ``sha256`` is that of the whole key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: str
    name: str = ""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    scopes: frozenset[Scope] = frozenset({"ask"})
    requests_per_minute: int | None = Field(None, gt=0)
    tokens_per_minute: int | None = Field(None, gt=0)
    concurrent: int | None = Field(None, gt=0)


@dataclass(frozen=True)
class Client:
    """Who asks: ``name`` for counting and logs (a key's id, or an address), and the key where there is one."""

    name: str
    key: Key | None = None


class Keys:
    """The file's keys; read again when it changes. One that has become unreadable changes nothing, and ``problem`` says so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._problem = ""
        self._stamp = 0
        self._keys: dict[str, Key] = {}
        self._read()

    @property
    def problem(self) -> str:
        """Why a change of the file has no effect; "" when there is none. Nothing of the file's content."""
        self._refresh()
        return self._problem

    def find(self, token: str) -> Key | None:
        """The key that ``token`` is, in time that tells nothing about a wrong one; None for no key."""
        self._refresh()
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        parts = token.split("_")
        key = self._keys.get(parts[1]) if len(parts) == 3 else None
        matches = hmac.compare_digest(digest, key.sha256 if key else "0" * 64)
        return key if matches else None

    def _refresh(self) -> None:
        try:
            if self._path.stat().st_mtime_ns != self._stamp:
                self._read()
            self._problem = ""
        except (OSError, UserError) as error:
            if not self._problem:
                log.error("keys stay as they were: %s", error)
            self._problem = f"{self._path} can't be read, keys stay as they were; the log says more"

    def _read(self) -> None:
        stamp = self._path.stat().st_mtime_ns if self._path.exists() else 0  # first: what changes meanwhile is read again
        self._keys = {key.id: key for key in read(self._path)}
        self._stamp = stamp


def read(path: Path) -> list[Key]:
    """The file's entries. Raises UserError when it is missing or damaged."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["keys"]
        return [Key.model_validate(entry) for entry in entries]
    except FileNotFoundError:
        fix = f"python -m serving.keys new NAME --file {path}"
        raise UserError(Problem(str(path), "missing", "a file of API keys", fix)) from None
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise UserError(
            Problem(str(path), f"damaged: {error}", '{"keys": [...]} as `python -m serving.keys new` writes it')
        ) from None


def new(path: Path, name: str, scopes: frozenset[Scope]) -> str:
    """Add a key's hash to the file, which is made where there is none, and return the key itself."""
    keys = read(path) if path.exists() else []
    key_id = secrets.token_hex(4)
    token = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32).replace('_', '-')}"
    keys.append(Key(id=key_id, name=name, sha256=hashlib.sha256(token.encode()).hexdigest(), scopes=scopes))
    write_json(
        path, {"keys": [key.model_dump(mode="json", exclude_none=True) | {"scopes": sorted(key.scopes)} for key in keys]}
    )
    path.chmod(0o600)
    return token


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m serving.keys", description="API keys of the service")
    parser.add_argument("command", choices=["new"])
    parser.add_argument("name", help="whose key it is")
    parser.add_argument("--scopes", default="ask", help="ask, bulk, admin; separated by commas")
    parser.add_argument("--file", type=Path, default=Path("keys.json"))
    given = parser.parse_args()
    with stage("keys"):
        wanted = frozenset(given.scopes.split(","))
        if unknown := wanted - {"ask", "bulk", "admin"}:
            raise UserError(Problem("--scopes", ", ".join(sorted(unknown)), "ask, bulk or admin"))
        print(new(given.file, given.name, wanted))
        print("It is shown this once; the file holds only its hash. Serve with LEGALQA_KEYS set to the file.")
