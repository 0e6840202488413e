import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from legalqa.engine.interface import Delta, GenerationRequest
from legalqa.engine.openai_engine import OpenAIEngine
from legalqa.problems import UserError
from legalqa.prompt import Prompt
from legalqa.records import Message

REQUEST = GenerationRequest((1, 2, 3), 8, temperature=0.5, seed=1, stop=("。",), messages=(Message(role="user", content="问"),))


@dataclass
class Server:
    """A real HTTP server that streams ``events``; ``refusals`` (status, headers, body) come first, one a request."""

    url: str = ""
    events: list[Any] = field(default_factory=list)
    refusals: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    pause_s: float = 0.0
    seen: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
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


def _said(*pieces: str, reason: str = "stop") -> list[Any]:
    events: list[Any] = [{"choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}, ": ping\n\n"]
    events += [{"choices": [{"delta": {"content": piece}, "finish_reason": None}]} for piece in pieces]
    return [*events, {"choices": [{"delta": {}, "finish_reason": reason}]}, {"choices": [], "usage": {}}, "data: [DONE]\n\n"]


def _engine(server: Server, prompt: Prompt, **more: Any) -> OpenAIEngine:
    engine = OpenAIEngine(server.url, "legal", prompt, **more)
    engine.start()
    return engine


def test_messages_go_out_and_deltas_come_back(server: Server, prompt: Prompt) -> None:
    server.events = _said("依法", "可以")
    engine = _engine(server, prompt, api_key="secret")

    async def all_deltas() -> list[Delta]:
        return [delta async for delta in engine.stream(REQUEST)]

    deltas = asyncio.run(all_deltas())
    assert [(d.text, d.finish_reason) for d in deltas] == [("依法", None), ("可以", None), ("", "stop")]
    assert deltas[0].token_ids == tuple(prompt.encode("依法"))
    path, headers, body = server.seen[0]
    assert (path, headers["Authorization"]) == ("/v1/chat/completions", "Bearer secret")
    assert body == {
        "model": "legal",
        "messages": [{"role": "user", "content": "问"}],
        "max_tokens": 8,
        "temperature": 0.5,
        "top_p": 1.0,
        "seed": 1,
        "stop": ["。"],
        "stream": True,
    }


def test_own_prompts_go_out_as_ids(server: Server, prompt: Prompt) -> None:
    server.events = [
        {"choices": [{"text": "好", "finish_reason": None}]},
        {"choices": [{"text": "", "finish_reason": "length"}]},
    ]
    completion = _engine(server, prompt, own_prompts=True).generate_many([REQUEST])[0]
    assert (completion.text, completion.finish_reason) == ("好", "length")
    assert server.seen[0][0] == "/v1/completions"
    assert server.seen[0][2]["prompt"] == [1, 2, 3]


def test_many_come_back_in_order(server: Server, prompt: Prompt) -> None:
    server.events, server.pause_s = _said("甲"), 0.01
    completions = _engine(server, prompt, max_batch=4).generate_many(
        [replace(REQUEST, prompt_ids=(1,) * n) for n in range(1, 9)]
    )
    assert [c.prompt_tokens for c in completions] == list(range(1, 9))
    assert {c.text for c in completions} == {"甲"}


def test_a_busy_server_is_asked_again_before_the_first_token(server: Server, prompt: Prompt) -> None:
    server.events = _said("好")
    server.refusals = [(429, {"Retry-After": "0"}, b"busy"), (503, {}, b'{"error": {"message": "loading"}}')]
    assert _engine(server, prompt, retries=2).generate_many([REQUEST])[0].text == "好"
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("refusal", "retries", "message"),
    [
        ((401, {}, b'{"error": {"message": "no such key"}}'), 3, "HTTP 401: no such key"),
        ((503, {}, b"gone"), 0, "HTTP 503: gone"),
        ((400, {}, b'{"error": "bad"}'), 3, "HTTP 400: bad"),
    ],
)
def test_refusals_become_errors_with_the_servers_words(
    server: Server, prompt: Prompt, refusal: Any, retries: int, message: str
) -> None:
    server.refusals = [refusal] * 4
    completion = _engine(server, prompt, retries=retries).generate_many([REQUEST])[0]
    assert (completion.finish_reason, completion.error) == ("error", message)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("events", "error"),
    [
        (_said("半")[:3], "broke off"),
        ([*_said("半")[:3], {"error": {"message": "out of memory"}}], "out of memory"),
        (_said("半", reason="content_filter"), "content_filter"),
        (["data: {no json\n\n"], "Expecting"),
    ],
)
def test_streams_that_break_off_are_errors_with_the_text_so_far(
    server: Server, prompt: Prompt, events: list[Any], error: str
) -> None:
    server.events = events
    completion = _engine(server, prompt, retries=3).generate_many([REQUEST])[0]
    assert completion.finish_reason == "error"
    assert error in completion.error
    assert completion.text == ("半" if len(events) > 1 else "")
    assert len(server.seen) == 1  # never a second answer after the first text


def test_a_deadline_ends_a_slow_answer(server: Server, prompt: Prompt) -> None:
    server.events, server.pause_s = _said(*"一二三四五六七八九十"), 0.05
    completion = _engine(server, prompt).generate_many([replace(REQUEST, deadline=time.monotonic() + 0.2)])[0]
    assert completion.finish_reason == "deadline"


def test_nobody_there_is_an_error(prompt: Prompt) -> None:
    engine = OpenAIEngine("http://127.0.0.1:9/v1", "legal", prompt)
    assert engine.generate_many([REQUEST])[0].error == "the engine takes no requests"
    engine.start()
    assert "no connection" in engine.generate_many([REQUEST])[0].error
    engine.stop()
    assert not engine.health().alive


def test_closing_the_stream_hangs_up(server: Server, prompt: Prompt) -> None:
    server.events, server.pause_s = _said(*"一二三四五六七八九十" * 20), 0.02
    engine = _engine(server, prompt)

    async def one() -> None:
        async with aclosing(engine.stream(REQUEST)) as deltas:
            await anext(deltas)
            assert engine.health().running == 1

    asyncio.run(one())
    assert engine.health().running == 0


def test_an_address_that_is_none_is_refused(prompt: Prompt) -> None:
    with pytest.raises(UserError, match="http://host:8000/v1"):
        OpenAIEngine("localhost:8000", "legal", prompt).start()
