"""The look-ups before an answer: bounded, in time, never in its way."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.serving.bundles import INTEREST, PROBATION
from tests.serving.conftest import Running, Start
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


def test_an_api_is_asked_when_little_was_found(start: Start) -> None:
    with passages_api(JSONResponse({"passages": [PASSAGE]})) as url:
        running = start(passages_url=url)
        body = running.ask("押金能退吗？").json()
        assert [step["tool"] for step in body["steps"]] == ["search_statutes", "search_answers", "passages_api"]
        assert body["passages"][0]["source"] == "https://law.example/1"
        assert "七日内退还" in prompted(running)
        assert [step["tool"] for step in running.ask(PROBATION).json()["steps"]] == ["search_statutes", "search_answers"]


def test_an_api_that_fails_or_hangs_holds_nothing_up(start: Start) -> None:
    with passages_api(JSONResponse({"no": "passages"})) as wrong:
        running = start(passages_url=wrong)
        assert running.ask(INTEREST[:3]).json()["source"] == "tuned"


def test_a_hanging_api_costs_a_step_and_no_more(start: Start) -> None:
    with passages_api(JSONResponse({}), delay_s=1.5) as slow:
        running = start(passages_url=slow)
        body = running.http.post("/ask", json={"question": "押金能退吗？"}, headers={"X-Request-Timeout-Ms": "2000"}).json()
        assert body["source"] == "tuned"
        assert body["steps"][-1]["found"] == 0 and body["steps"][-1]["seconds"] < 1.5
