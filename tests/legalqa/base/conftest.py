"""A tiny model, and a hub on this machine that serves its files as huggingface.co does."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.tiny import tiny_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@dataclass
class Hub:
    """Repositories by name; what was asked for, in order."""

    repositories: dict[str, Path] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    commit: str = COMMIT


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, with_body: bool) -> None:
            hub.asked.append(self.path)
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self._api("/".join(parts[2:4]), parts[4:])
                return
            folder, name = hub.repositories.get("/".join(parts[:2])), parts[-1]
            if folder is None or parts[3] != hub.commit:
                self._refuse("RepoNotFound" if folder is None else "RevisionNotFound")
            elif not (folder / name).is_file():
                self._refuse("EntryNotFound")
            else:
                body = (folder / name).read_bytes()
                etag = hashlib.sha256(body).hexdigest()
                self._send(body if with_body else b"", len(body), {"ETag": f'"{etag}"', "X-Repo-Commit": hub.commit})

        def _api(self, repository: str, rest: list[str]) -> None:
            folder = hub.repositories.get(repository)
            if folder is None or (rest[:1] in (["revision"], ["tree"]) and rest[1] != hub.commit):
                self._refuse("RepoNotFound" if folder is None else "RevisionNotFound")
                return
            sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
            if rest[:1] == ["tree"]:
                listing: object = [{"type": "file", "path": n, "size": s, "oid": "0" * 40} for n, s in sizes.items()]
            else:
                siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
                listing = {"id": repository, "sha": hub.commit, "siblings": siblings, "cardData": {"license": "mit"}}
            body = json.dumps(listing).encode()
            self._send(body, len(body), {"Content-Type": "application/json"})

        def _refuse(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, body: bytes, length: int, headers: dict[str, str]) -> None:
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler


@pytest.fixture
def local_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()
