import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from legalqa.engine.interface import Delta, GenerationRequest
from legalqa.engine.openai_engine import OpenAIEngine
from legalqa.problems import UserError
from legalqa.prompt import Prompt
from legalqa.records import Message
from tests.openai_server import Server, running, said

REQUEST = GenerationRequest((1, 2, 3), 8, temperature=0.5, seed=1, stop=("。",), messages=(Message(role="user", content="问"),))


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as started:
        yield started


def _engine(server: Server, prompt: Prompt, **more: Any) -> OpenAIEngine:
    engine = OpenAIEngine(server.url, "legal", prompt, **more)
    engine.start()
    return engine


def test_messages_go_out_and_deltas_come_back(server: Server, prompt: Prompt) -> None:
    server.events = said("依法", "可以")
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
    server.events, server.pause_s = said("甲"), 0.01
    completions = _engine(server, prompt, max_batch=4).generate_many(
        [replace(REQUEST, prompt_ids=(1,) * n) for n in range(1, 9)]
    )
    assert [c.prompt_tokens for c in completions] == list(range(1, 9))
    assert {c.text for c in completions} == {"甲"}


def test_a_busy_server_is_asked_again_before_the_first_token(server: Server, prompt: Prompt) -> None:
    server.events = said("好")
    server.refusals = [(429, {"Retry-After": "0"}, b"busy"), (503, {}, b'{"error": {"message": "loading"}}')]
    assert _engine(server, prompt, retries=2).generate_many([REQUEST])[0].text == "好"
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("refusal", "retries", "message"),
    [
        ((401, {}, b'{"error": {"message": "no such key"}}'), 3, ("error", "HTTP 401: no such key")),
        ((503, {}, b"gone"), 0, ("error", "HTTP 503: gone")),
        ((400, {}, b'{"error": "bad"}'), 3, ("refused", "HTTP 400: bad")),
    ],
)
def test_refusals_become_errors_with_the_servers_words(
    server: Server, prompt: Prompt, refusal: Any, retries: int, message: tuple[str, str]
) -> None:
    server.refusals = [refusal] * 4
    completion = _engine(server, prompt, retries=retries).generate_many([REQUEST])[0]
    assert (completion.finish_reason, completion.error) == message
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("events", "error"),
    [
        (said("半")[:3], "broke off"),
        ([*said("半")[:3], {"error": {"message": "out of memory"}}], "out of memory"),
        (said("半", reason="content_filter"), "content_filter"),
        (["data: {no json\n\n"], "Expecting"),
    ],
)
def test_streams_that_break_off_are_errors_with_the_text_so_far(
    server: Server, prompt: Prompt, events: list[Any], error: str
) -> None:
    server.events = events
    completion = _engine(server, prompt, retries=3).generate_many([REQUEST])[0]
    assert completion.finish_reason == ("refused" if error == "content_filter" else "error")
    assert error in completion.error
    assert completion.text == ("半" if len(events) > 1 else "")
    assert len(server.seen) == 1  # never a second answer after the first text


def test_a_deadline_ends_a_slow_answer(server: Server, prompt: Prompt) -> None:
    server.events, server.pause_s = said(*"一二三四五六七八九十"), 0.05
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
    server.events, server.pause_s = said(*"一二三四五六七八九十" * 20), 0.02
    engine = _engine(server, prompt)

    async def one() -> None:
        async with aclosing(engine.stream(REQUEST)) as deltas:
            await anext(deltas)
            assert engine.health().running == 1

    asyncio.run(one())
    assert engine.health().running == 0


def test_an_address_that_is_none_is_refused(prompt: Prompt) -> None:
    for address in ("localhost:8000", "http://host:80a0/v1", "ftp://host/v1"):
        with pytest.raises(UserError, match="http://host:8000/v1"):
            OpenAIEngine(address, "legal", prompt).start()


@pytest.mark.parametrize(
    "event", [None, [], {"choices": {"a": 1}}, {"choices": [{"delta": 5}]}, {"choices": [{"text": ["a"]}]}, "data: \\x\n\n"]
)
def test_a_server_that_says_anything_at_all_is_an_error_and_no_surprise(server: Server, prompt: Prompt, event: Any) -> None:
    server.events = [event if isinstance(event, str) else f"data: {json.dumps(event)}\n\n"]
    assert _engine(server, prompt).generate_many([REQUEST])[0].finish_reason == "error"


def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(server: Server, prompt: Prompt) -> None:
    for key in ("密钥 SECRET", "SECRET\nx"):
        with pytest.raises(UserError, match="no HTTP header") as told:
            _engine(server, prompt, api_key=key)
        assert "SECRET" not in str(told.value)
    server.events = said("好")
    assert _engine(server, prompt, api_key="secret \n").generate_many([REQUEST])[0].text == "好"
    assert server.seen[0][1]["Authorization"] == "Bearer secret"


def test_half_characters_are_replaced(server: Server, prompt: Prompt) -> None:
    server.events = ['data: {"choices": [{"delta": {"content": "a\\ud800"}, "finish_reason": "stop"}]}\n\n']
    assert _engine(server, prompt).generate_many([REQUEST])[0].text == "a?"


def test_long_words_of_a_server_are_cut(server: Server, prompt: Prompt) -> None:
    server.refusals = [(500, {}, json.dumps({"error": {"message": "x" * 5000}}).encode())]
    assert len(_engine(server, prompt).generate_many([REQUEST])[0].error) < 300
