"""Starts the servers that are compared: ours, plain adaptive batching, llama.cpp, transformers serve."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LLAMA = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.port, params.n_parallel, params.n_ctx, params.cpuparams.n_threads = map(int, sys.argv[2:])
server = xllamacpp.Server(params)
while True:
    time.sleep(1)
"""


MOST_BYTES = 9 * 10**9  # a server that grows beyond is ended before it takes the machine with it


class FailedError(RuntimeError):
    """A server that did not start, or did not stay."""


@dataclass
class Server:
    """A running one."""

    url: str
    model: str
    process: subprocess.Popen[bytes]
    ended_because: str = ""

    def engine_pid(self) -> int:
        """The process that holds our model."""
        return int(httpx.get(f"{self.url}/info", timeout=10).json()["engine"]["pid"])

    def resident_bytes(self) -> int:
        """Memory of the server and all its children."""
        parent = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in [parent, *parent.children(recursive=True)])

    def watch(self) -> None:
        """End the server, children first, when it grows beyond MOST_BYTES; returns when it has ended."""
        while self.process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                if self.resident_bytes() > MOST_BYTES:
                    self.ended_because = f"it grew beyond {MOST_BYTES / 1e9:.0f} GB of memory"
                    self.kill()
            time.sleep(0.5)

    def kill(self) -> None:
        """End it at once, children first."""
        for one in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
            one.kill()


@contextmanager
def _started(command: list[str], port: int, model: str, ready: str, name: str, **environment: str) -> Iterator[Server]:
    log = Path(tempfile.gettempdir()) / f"benchmark-{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"
    server = Server(url, model, process)
    threading.Thread(target=server.watch, daemon=True).start()
    try:
        for _ in range(1800):
            try:
                if httpx.get(url + ready, timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            if process.poll() is not None:
                raise FailedError(f"{name} did not start, see {log}")
            time.sleep(0.2)
        else:
            raise FailedError(f"{name} did not become ready, see {log}")
        yield server
        if process.poll() is not None:
            raise FailedError(server.ended_because or f"{name} has ended by itself, see {log}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def ours(bundle: Path, weights: str, patient: bool = False) -> Iterator[Server]:
    """This service, with its limits out of the way; ``patient``: deadlines, too, so that everything waits for the model."""
    values = {"requests_per_minute": 10**6, "tokens_per_minute": 10**9, "concurrent": 10**4}
    values |= {"first_token_s": 500, "deadline_s": 600} if patient else {}
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    for name, value in values.items():
        text = re.sub(rf"^( +{name}:) [0-9.]+", rf"\1 {value}", text, flags=re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        params = Path(folder) / "params.yaml"
        params.write_text(text, encoding="utf-8")
        port = _free_port()
        environment = {"LEGALQA_BUNDLE": str(bundle), "LEGALQA_PARAMS": str(params), "LEGALQA_WEIGHTS": weights}
        command = [str(BIN / "bentoml"), "serve", "--port", str(port)]
        with _started(command, port, "legalqa", "/healthz/engine", f"ours-{weights}", **environment) as server:
            yield server


@contextmanager
def adaptive(bundle: Path) -> Iterator[Server]:
    """Plain BentoML adaptive batching with static bf16 generation."""
    port = _free_port()
    command = [str(BIN / "bentoml"), "serve", "benchmarks.adaptive_service:Adaptive", "--port", str(port)]
    with _started(command, port, "any", "/readyz", "adaptive", LEGALQA_BUNDLE=str(bundle)) as server:
        yield server


@contextmanager
def llamacpp(python: Path, gguf: Path, at_once: int) -> Iterator[Server]:
    """llama.cpp's server out of the xllamacpp wheel, in an environment of its own."""
    port = _free_port()
    command = [str(python), "-c", LLAMA, str(gguf), str(port), str(at_once), str(1024 * at_once), str(os.cpu_count())]
    with _started(command, port, "any", "/health", f"llamacpp-{at_once}") as server:
        yield server


@contextmanager
def transformers_serve(base: Path) -> Iterator[Server]:
    """`transformers serve` with continuous batching, from this environment; its extra dependencies must be installed.

    Without the two bounds it takes three fifths of the machine's memory for its cache, and a mask of 8,192 tokens by all that
    the cache holds for every step.
    """
    port = _free_port()
    command = [
        str(BIN / "transformers"),
        "serve",
        str(base),
        "--port",
        str(port),
        "--continuous-batching",
        "--cb-max-batch-tokens",
        "512",
        "--cb-num-blocks",
        "64",
        "--dtype",
        "bfloat16",
    ]
    with _started(command, port, str(base), "/health", "transformers-serve") as server:
        yield server
