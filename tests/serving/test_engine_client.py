"""The gateway's connections to the engine process."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn

from legalqa.engine.interface import GenerationRequest, Health
from legalqa.params import ServeParams
from serving import engine_client, wire
from serving.engine_client import EngineClient
from serving.pace import Pace

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connections(path: Path, health: bytes = b"") -> AsyncIterator[list[asyncio.StreamWriter]]:
    """An engine that says one word to each question, and of its ``health``; yields the connections it was given."""
    accepted: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        word = b'{"text": "x", "finish_reason": "stop"}\n'
        with suppress(asyncio.IncompleteReadError):  # until the client hangs up
            while head := await reader.readuntil(b"\r\n\r\n"):
                line = word
                if head.startswith(b"GET"):
                    line = health
                else:
                    await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(line), line))

    server = await asyncio.start_unix_server(accept, path)
    async with server:
        yield accepted
        for writer in accepted:
            writer.close()


async def ask(client: EngineClient) -> list[str]:
    return [delta.text async for delta in client.stream(GenerationRequest((1,), 4))]


async def test_a_connection_that_the_engine_may_be_closing_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert uvicorn.Config("").timeout_keep_alive - engine_client.IDLE_S > 2  # BentoML leaves the engine's at this
    monkeypatch.setattr(engine_client, "IDLE_S", 0.2)
    async with connections(tmp_path / "engine.sock") as accepted:
        client = EngineClient(f"file://{tmp_path}/engine.sock", ServeParams())
        assert [await ask(client), await ask(client), len(accepted)] == [["x"], ["x"], 1]
        await asyncio.sleep(0.3)
        assert [await ask(client), len(accepted)] == [["x"], 2]
        await client.close()


@pytest.mark.parametrize("silent_for_good", [True, False])
async def test_a_silent_engine_is_ended_but_not_for_a_pause_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_for_good: bool
) -> None:
    ahead, silent = [0.0], asyncio.Event()
    monkeypatch.setattr(engine_client, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + ahead[0]))
    monkeypatch.setattr(engine_client, "ASK_EVERY_S", 0.05)
    monkeypatch.setattr(engine_client, "ANSWER_WITHIN_S", 0.1)
    engine = subprocess.Popen(["sleep", "60"])
    status = wire.pack_status(wire.Status("ready", Health(alive=True, ready=True), pid=engine.pid))

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                if not silent.is_set():
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(status), status))
        writer.close()

    async with await asyncio.start_unix_server(accept, tmp_path / "engine.sock"):
        client = EngineClient(f"file://{tmp_path}/engine.sock", ServeParams(restart_after_s=1.0))
        client.start()
        while client.unavailable():
            await asyncio.sleep(0.02)
        silent.set()
        await asyncio.sleep(0.2)
        ahead[0] = 600.0
        if not silent_for_good:
            silent.clear()
        try:
            async with asyncio.timeout(20 if silent_for_good else 1.5):
                while engine.poll() is None:
                    await asyncio.sleep(0.05)
            ended = True
        except TimeoutError:
            ended = False
        finally:
            engine.kill()
            engine.wait()
        assert ended == silent_for_good
        assert bool(client.unavailable()) == silent_for_good
        await client.close()


async def test_the_watch_outlives_what_nobody_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_client, "ASK_EVERY_S", 0.02)
    status = wire.pack_status(wire.Status("ready", Health(alive=True, ready=True)))
    async with connections(tmp_path / "engine.sock", status):
        client = EngineClient(f"file://{tmp_path}/engine.sock", ServeParams())
        unpack, failures = wire.unpack_status, [RuntimeError("a surprise")]

        def surprising(content: bytes) -> wire.Status:
            if failures:
                raise failures.pop()
            return unpack(content)

        monkeypatch.setattr(wire, "unpack_status", surprising)
        client.start()
        async with asyncio.timeout(20):
            while client.unavailable():
                await asyncio.sleep(0.02)
        assert not failures
        await client.close()


async def test_a_process_without_its_engine_is_not_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread has died: the process says that it is ready, and will never be again."""
    monkeypatch.setattr(engine_client, "ASK_EVERY_S", 0.02)
    engine = subprocess.Popen(["sleep", "60"])
    status = wire.pack_status(wire.Status("ready", Health(alive=False, ready=False), pid=engine.pid))
    async with connections(tmp_path / "engine.sock", status):
        client = EngineClient(f"file://{tmp_path}/engine.sock", ServeParams(restart_after_s=0.2))
        client.start()
        async with asyncio.timeout(20):
            while engine.poll() is None:
                await asyncio.sleep(0.02)
                if client.status.state == "ready":
                    assert client.unavailable() == "unavailable"
        await client.close()
    assert engine.wait() == -9


async def test_what_waits_for_a_lost_engine_waits_no_longer_than_allowed_and_on_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, ready, silent, _ = watched(tmp_path, monkeypatch)
    begun = asyncio.get_running_loop().time()
    with client._let_go() as scope:
        async with scope:
            await ready(1)
            assert scope.when() is None
            for slow in (False, True):  # a slow one, too, finishes what it has begun
                await silent()
                due = scope.when()
                assert due and 0 <= due - begun - engine_client.ANSWER_WITHIN_S < 1
                await ready(1, slow=slow)
                assert client.unavailable() == ("slow" if slow else "")
                assert scope.when() is None
    await client.close()


async def test_who_was_silent_or_is_another_process_comes_back_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, ready, silent, backs = watched(tmp_path, monkeypatch)
    await ready(1)
    assert backs == [True]  # for the first time
    await ready(1, slow=True)
    await ready(1)
    assert backs == [True, False]
    client._heed(httpx.RemoteProtocolError("the connection broke off"))  # but the process lives
    await ready(1)
    assert backs == [True, False, False]
    client._heed(httpx.RemoteProtocolError("the process has died"))
    await ready(2)
    assert backs == [True, False, False, True]
    await silent()
    await ready(2)
    assert backs == [True, False, False, True, True]
    await client.close()


def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[EngineClient, Any, Any, list[bool]]:
    """A client, what lets it see its engine ready (of which process? slow?) or silent, and what it says of returns."""
    backs: list[bool] = []
    client = EngineClient(f"file://{tmp_path}/engine.sock", ServeParams(), on_back=backs.append)
    ticks = count(1)
    client._pace = Pace(clock=lambda: next(ticks) * 1.0)
    answers: list[wire.Status | None] = []

    async def get(*_unused: object, **_options: object) -> SimpleNamespace:
        answer = answers.pop()
        if answer is None:
            raise httpx.ReadTimeout("no answer")
        return SimpleNamespace(content=wire.pack_status(answer))

    monkeypatch.setattr(client._http, "get", get)
    monkeypatch.setattr(client, "_send_canary", lambda: None)

    async def ready(pid: int, slow: bool = False) -> None:
        for slowdown in (9.0, 9.1) if slow else (1.0,):
            answers.append(wire.Status("ready", Health(True, True, running=1, slowdown=slowdown), pid=pid))
            await client._look()

    async def silent() -> None:
        for _ in range(engine_client.MISSES):
            answers.append(None)
            await client._look()

    return client, ready, silent, backs
