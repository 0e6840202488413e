"""A real HTTP server that speaks enough of the OpenAI API to stream scripted answers, refuse, and be slow."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Server:
    """A real HTTP server that streams ``events``; ``refusals`` (status, headers, body) come first, one a request."""

    url: str = ""
    events: list[Any] = field(default_factory=list)
    refusals: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    pause_s: float = 0.0
    seen: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)


@contextmanager
def running() -> Iterator[Server]:
    """Serve until the block ends."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.seen.append((self.path, dict(self.headers), body))
            if state.refusals:
                status, headers, content = state.refusals.pop(0)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for event in state.events:
                line = event if isinstance(event, str) else f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
                try:
                    self.wfile.write(line.encode())
                    self.wfile.flush()
                except OSError:  # the client hung up
                    return
                time.sleep(state.pause_s)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    state.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


def said(*pieces: str, reason: str = "stop") -> list[Any]:
    """The events of one answer, with all that real servers send around it."""
    events: list[Any] = [{"choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}, ": ping\n\n"]
    events += [{"choices": [{"delta": {"content": piece}, "finish_reason": None}]} for piece in pieces]
    return [*events, {"choices": [{"delta": {}, "finish_reason": reason}]}, {"choices": [], "usage": {}}, "data: [DONE]\n\n"]
