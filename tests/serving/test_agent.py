"""The look-ups before an answer: bounded, in time, never in its way."""

import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from legalqa.engine.fake import FakeEngine
from legalqa.engine.interface import Capabilities, GenerationRequest
from legalqa.engine.openai_engine import OpenAIEngine
from legalqa.params import AROUND_PASSAGES, BreakerParams
from legalqa.prompt import Prompt
from legalqa.records import Message
from serving.engine_client import EngineClient
from tests.serving.bundles import INTEREST, PROBATION
from tests.serving.conftest import Running, Start, wait_until
from tests.serving.live import served

PASSAGE = {"title": "地方规定", "text": "押金应当在七日内退还。", "source": "https://law.example/1", "score": 0.9}


@contextmanager
def passages_api(answer: Response, delay_s: float = 0.0) -> Iterator[str]:
    async def passages(request: Request) -> Response:
        assert set(await request.json()) == {"query", "k"}
        await anyio.sleep(delay_s)
        return answer

    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    with served(Starlette(routes=[Route("/", passages, methods=["POST"])]), bound):
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"


def prompted(running: Running) -> str:
    return running.engine.requests[-1].messages[-1].content


def test_auto_uses_only_what_is_near(running: Running) -> None:
    near = running.ask(PROBATION).json()
    assert near["passages"][0]["title"] == PROBATION
    assert prompted(running).startswith("参考资料：\n1. ")
    far = running.ask("押金能退吗？").json()
    assert far["passages"] == [] and prompted(running) == "押金能退吗？"


def test_passages_stay_within_their_tokens(start: Start) -> None:
    running = start(params=(("passage_tokens: 400", "passage_tokens: 20"),))
    assert running.ask(PROBATION, knowledge="always").json()["passages"] == []


def test_passages_leave_room_for_the_answer_in_a_small_context(running: Running) -> None:
    prompt = running.service.gateway.prompt
    assert prompt is not None
    asked = len(prompt.completion([Message(role="user", content=PROBATION)]))
    for room, found in ((400, 1), (10, 0)):
        prompt.context = asked + AROUND_PASSAGES + 30 + room
        body = running.ask(PROBATION, max_tokens=30).json()
        assert (body["source"], min(len(body["passages"]), 1)) == ("tuned", found)


def test_a_prompt_that_the_engine_cannot_read_is_not_its_failure(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(running.engine.requests)  # the warm-up
    monkeypatch.setattr(EngineClient, "capabilities", lambda _self: Capabilities(max_batch=16, max_context=8))
    for _ in range(2 * BreakerParams().min_calls):
        body = running.ask(PROBATION).json()
        assert (body["source"], body["reason"]) == ("knowledge", "error")
    assert len(running.engine.requests) == before
    assert running.service.gateway.model.breaker.state == "closed"


def test_an_api_is_asked_when_little_was_found(start: Start) -> None:
    with passages_api(JSONResponse({"passages": [PASSAGE]})) as url:
        running = start(passages_url=url)
        body = running.ask("押金能退吗？").json()
        assert [step["tool"] for step in body["steps"]] == ["search_statutes", "search_answers", "passages_api"]
        assert body["passages"][0]["source"] == "https://law.example/1"
        assert "七日内退还" in prompted(running)
        assert [step["tool"] for step in running.ask(PROBATION).json()["steps"]] == ["search_statutes", "search_answers"]


@pytest.mark.parametrize(
    "answer", ['{"no": "passages"}', '{"passages": [{"title": "a", "text": "b", "source": "c", "score": Infinity}]}', "[]", "x"]
)
def test_an_api_that_says_anything_at_all_holds_nothing_up(start: Start, answer: str) -> None:
    with passages_api(Response(answer)) as wrong:
        said = start(passages_url=wrong).ask(INTEREST[:3]).json()
    assert (said["source"], said["steps"][-1]["tool"], said["passages"]) == ("tuned", "passages_api", [])


def test_half_a_character_from_an_api_is_replaced(start: Start) -> None:
    half = '{"passages": [{"title": "地方规定", "text": "押金\\ud800", "source": "c", "score": 0.9}]}'
    with passages_api(Response(half)) as api:
        said = start(passages_url=api).ask("押金能退吗？").json()
    assert (said["source"], [one["text"] for one in said["passages"]]) == ("tuned", ["押金?"])


def test_an_api_with_an_address_that_is_none_holds_nothing_up(start: Start) -> None:
    assert start(passages_url="http://host:80a0/").ask(INTEREST[:3]).json()["source"] == "tuned"


def test_a_hanging_api_costs_a_step_and_no_more(start: Start) -> None:
    with passages_api(JSONResponse({}), delay_s=1.5) as slow:
        running = start(passages_url=slow)
        body = running.http.post("/ask", json={"question": "押金能退吗？"}, headers={"X-Request-Timeout-Ms": "2000"}).json()
        assert body["source"] == "tuned"
        assert body["steps"][-1]["found"] == 0 and body["steps"][-1]["seconds"] < 1.5


BUNDLE: list[str] = []  # the folder of this run's bundle
AUTO = (("agent: never", "agent: auto"),)
CALLS = [
    '<tool_call>\n{"name": "get_article", "arguments": {"law": "劳动合同法", "number": "第八十二条"}}\n</tool_call>',
    '<tool_call>\n{"name": "search_answers", "arguments": {"query": "试用期最长可以约定多久？"}}\n</tool_call>',
    '<tool_call>\n{"name": "search_statutes", "arguments": {"query": "二倍工资"}}\n</tool_call>',
    '<tool_call>\n{"name": "search_statutes", "arguments": {"query": "离婚"}}\n</tool_call>',
]


def caller(says: list[str]) -> FakeEngine:
    """A model that says one thing after the other while it decides, and answers in the end."""
    engine = FakeEngine(Prompt.load(BUNDLE[0]))
    left = iter(says)

    def reply(request: GenerationRequest) -> str:
        return next(left, "不需要") if "# Tools" in request.messages[0].content else "依法可以主张权利。"

    engine.reply = reply
    return engine


@pytest.fixture(autouse=True)
def taught(bundle_folder: object, monkeypatch: pytest.MonkeyPatch) -> None:
    BUNDLE[:] = [str(bundle_folder)]
    monkeypatch.setattr("serving.tools.known_to", lambda _prompt: True)


def test_a_model_that_calls_tools_decides_what_is_looked_up(start: Start) -> None:
    running = start(caller(CALLS), params=AUTO)
    body = running.ask("没签合同怎么赔？").json()
    assert [step["tool"] for step in body["steps"]] == ["get_article", "search_answers", "search_statutes"]  # and no fourth
    assert body["steps"][0] | {"seconds": 0} == {
        "tool": "get_article",
        "query": "劳动合同法 第八十二条",
        "found": 1,
        "score": 1.0,
        "seconds": 0,
    }
    assert body["passages"][0]["title"] == "《中华人民共和国劳动合同法》第八十二条"
    assert body["source"] == "tuned" and body["answer"] == "依法可以主张权利。"
    deciding = running.engine.requests[3].messages  # after the warm-up and two others
    assert [message.role for message in deciding] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert "二倍" in deciding[3].content and deciding[3].content.startswith("<tool_response>")
    assert "二倍的工资" in prompted(running) and "# Tools" not in running.engine.requests[-1].messages[0].content


@pytest.mark.parametrize(
    "said",
    [
        "依法可以。",
        "<tool_call>{",
        '<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "get_article", "arguments": {"law": "民法典"}}</tool_call>',
        '<tool_call>{"name": "search_statutes", "arguments": ["x"]}</tool_call>',
        '<tool_call>{"name": "passages_api", "arguments": {"query": "x"}}</tool_call>',
        "<tool_call>[1]</tool_call>",
        "",
    ],
)
def test_without_a_call_scores_decide(start: Start, said: str) -> None:
    running = start(caller([said]), params=AUTO)
    body = running.ask(PROBATION).json()
    assert [step["tool"] for step in body["steps"]] == ["search_statutes", "search_answers"]
    assert (body["source"], body["passages"][0]["title"]) == ("tuned", PROBATION)


def test_the_same_call_twice_ends_the_loop(start: Start) -> None:
    running = start(caller([CALLS[1]] * 3), params=AUTO)
    assert [step["tool"] for step in running.ask(PROBATION).json()["steps"]] == ["search_answers"]


def test_an_unknown_article_is_found_nowhere(start: Start) -> None:
    running = start(caller([CALLS[0].replace("八十二", "八百八十二")]), params=AUTO)
    body = running.ask("没签合同怎么赔？").json()
    assert (body["steps"][0]["found"], body["passages"], body["source"]) == (0, [], "tuned")


def test_a_model_that_takes_too_long_to_decide_is_not_waited_for(start: Start) -> None:
    engine = caller([CALLS[0]])
    engine.seconds_a_token = 0.02
    running = start(engine, params=AUTO)
    began = time.monotonic()
    headers = {"X-Request-Timeout-Ms": "4000"}
    body = running.http.post("/ask", json={"question": PROBATION}, headers=headers).json()
    assert body["source"] == "tuned" and time.monotonic() - began < 4
    assert [step["tool"] for step in body["steps"]] == ["search_statutes", "search_answers"]
    assert running.engine.cancelled == 1


def test_a_model_that_answers_instead_of_deciding_is_cut_short(start: Start) -> None:
    engine = caller(["依法可以主张权利。" * 10])
    engine.seconds_a_token = 0.01
    running = start(engine, params=AUTO)
    body = running.ask(PROBATION).json()
    assert (body["source"], [step["tool"] for step in body["steps"]]) == ("tuned", ["search_statutes", "search_answers"])
    wait_until(lambda: running.engine.cancelled == 1)


@contextmanager
def openai_server(says: list[str]) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A server that streams in OpenAI's form: what it says while it decides, then an answer."""
    bodies: list[dict[str, object]] = []
    left = list(says)

    async def chat(request: Request) -> Response:
        body = await request.json()
        bodies.append(body)
        deciding = "# Tools" in body["messages"][0]["content"]
        text = left.pop(0) if deciding else "依法可以主张权利。"

        async def events() -> AsyncIterator[str]:
            for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
                yield f"data: {json.dumps({'choices': [{'delta': {'content': piece}, 'finish_reason': None}]})}\n\n"
            yield f"data: {json.dumps({'choices': [{'delta': {}, 'finish_reason': 'stop'}]})}\n\ndata: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    with served(Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])]), bound):
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1", bodies


def test_the_loop_over_an_openai_compatible_server(start: Start) -> None:
    with openai_server([CALLS[0], "不需要了"]) as (url, bodies):
        engine = OpenAIEngine(url, "any", Prompt.load(BUNDLE[0]))
        body = start(engine, params=AUTO).ask("没签合同怎么赔？").json()
    assert [step["tool"] for step in body["steps"]] == ["get_article"]
    assert (body["source"], body["answer"]) == ("tuned", "依法可以主张权利。")
    warm_up, *_deciding, answering = bodies
    assert len(bodies) == 4 and warm_up["messages"]
    assert "二倍的工资" in json.dumps(answering["messages"], ensure_ascii=False)
