"""The gateway's connections to the engine process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvicorn

from legalqa.engine.interface import GenerationRequest
from legalqa.params import ServeParams
from serving import engine_client
from serving.engine_client import EngineClient

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connections(path: Path) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """An engine that says one word to each question, at ``path``; yields the connections it was given."""
    accepted: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        line = b'{"text": "x", "finish_reason": "stop"}\n'
        with suppress(asyncio.IncompleteReadError):  # until the client hangs up
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
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
