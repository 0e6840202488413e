"""Too much at once, an engine that hangs, dies or crawls: everybody is answered, and the answer says by whom."""

import asyncio
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from legalqa.engine.fake import FakeEngine
from legalqa.knowledge.passages import Kind
from legalqa.knowledge.retrieval import Hit, KnowledgeAnswer
from legalqa.prompt import Prompt
from tests.serving.bundles import PROBATION
from tests.serving.conftest import Running, Start, wait_until
from tests.serving.live import engine_served

UNLIMITED = (
    ("requests_per_minute: 120", "requests_per_minute: 100000"),
    ("tokens_per_minute: 60000", "tokens_per_minute: 10000000"),
)
FEW = (*UNLIMITED, ("max_requests: 64", "max_requests: 4"), ("concurrent: 32", "concurrent: 500"))


async def many(running: Running, number: int) -> Counter[tuple[str, str]]:
    """(source, reason) of so many questions at once; each must be answered with 200 and labelled the same twice."""
    async with httpx.AsyncClient(base_url=running.service.url, timeout=30) as http:

        async def one() -> tuple[str, str]:
            response = await http.post("/ask", json={"question": PROBATION})
            assert response.status_code == 200
            body = response.json()
            assert response.headers["x-answer-source"] == body["source"]
            assert body["degraded"] == (body["source"] != "tuned")
            assert (body["answer"] == "依法可以主张权利。") == (body["source"] == "tuned")
            return body["source"], body["reason"] or ""

        return Counter(await asyncio.gather(*(one() for _ in range(number))))


@pytest.mark.anyio
async def test_what_does_not_fit_is_answered_from_the_knowledge_base(start: Start) -> None:
    running = start(params=FEW)
    running.engine.seconds_a_token = 0.05
    counted = await many(running, 40)
    assert counted["tuned", ""] >= 4
    assert counted["knowledge", "overload"] == 40 - counted["tuned", ""]


def test_nothing_is_looked_up_for_a_model_that_is_full(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    running = start(params=(("max_requests: 64", "max_requests: 1"), ("first_token_s: 10", "first_token_s: 0.5")))
    library, model = running.service.gateway.library, running.service.gateway.model
    assert library.knowledge
    searched: list[str] = []
    in_haste: list[bool] = []
    search, answer = library.search, library.answer

    async def noted_search(query: str, k: int, kind: Kind) -> list[Hit]:
        searched.append(query)
        return await search(query, k, kind)

    async def noted_answer(question: str, hurried: bool = False) -> KnowledgeAnswer | None:
        in_haste.append(hurried)
        return await answer(question, hurried)

    monkeypatch.setattr(library, "search", noted_search)
    monkeypatch.setattr(library, "answer", noted_answer)
    place = model.admission.admit(10, 10, 1e12, 1e12, model.backend.health(), 16)
    assert place
    body = running.ask(PROBATION).json()
    assert (body["source"], body["reason"], body["steps"]) == ("knowledge", "overload", [])
    assert (searched, in_haste) == ([], [True])
    place.close()
    running.engine.fault = "stall"
    body = running.ask(PROBATION).json()
    assert (body["source"], body["reason"]) == ("knowledge", "deadline")
    assert searched and in_haste == [True, True]


def test_without_room_for_passages_nothing_is_looked_up_unless_it_was_asked_for(start: Start) -> None:
    running = start(params=(("max_tokens: 65536 ", "max_tokens: 440 "),))
    tickets = running.service.gateway.model.admission.tickets
    for knowledge, looked_up in (("auto", False), ("always", True), ("never", False)):
        body = running.ask(PROBATION, knowledge=knowledge).json()
        assert (body["source"], bool(body["steps"])) == ("tuned", looked_up)
        assert not tickets


@pytest.mark.anyio
async def test_a_failing_engine_is_left_alone_and_tried_again(start: Start) -> None:
    running = start(params=(*UNLIMITED, ("open_s: 5 ", "open_s: 0.5 "), ("max_open_s: 15", "max_open_s: 1")))
    running.engine.fault = "error"
    counted = await many(running, 20)
    assert counted["tuned", ""] == 0
    asked = len(running.engine.requests)
    assert (await many(running, 20))["knowledge", "breaker_open"] == 20
    assert len(running.engine.requests) == asked
    running.engine.fault = ""
    wait_until(lambda: running.ask(PROBATION).json()["source"] == "tuned")
    wait_until(lambda: running.service.gateway.model.breaker.state == "closed" or not running.ask(PROBATION))


def test_a_hanging_engine_costs_no_more_than_the_first_token(start: Start) -> None:
    running = start(params=(("first_token_s: 10", "first_token_s: 0.3"),))
    running.engine.fault = "stall"
    began = time.monotonic()
    body = running.ask(PROBATION).json()
    assert (body["source"], body["reason"]) == ("knowledge", "deadline")
    assert time.monotonic() - began < 5
    assert not running.service.gateway.model.admission.tickets


def test_an_engine_that_hangs_in_the_middle_is_noticed(start: Start) -> None:
    running = start(params=(("stall_s: 10 ", "stall_s: 0.5 "),))
    running.engine.fault, running.engine.fault_after = "stall", 3
    body = running.ask(PROBATION).json()
    assert (body["source"], body["reason"]) == ("knowledge", "error")
    assert running.ask(PROBATION).json()["reason"] == "unavailable"
    running.engine.fault = ""
    wait_until(lambda: running.ask(PROBATION).json()["source"] == "tuned")


def test_a_crawling_engine_is_noticed_within_seconds_and_tried_by_a_canary(start: Start) -> None:
    running = start(params=UNLIMITED)
    running.engine.seconds_a_token = 0.025
    client = running.service.gateway.engine
    running.ask(PROBATION)
    wait_until(lambda: running.ask(PROBATION).json()["source"] == "tuned" and client.health().slowdown > 0)
    running.engine.seconds_a_token = 0.25
    began = time.monotonic()
    wait_until(lambda: running.ask(PROBATION, max_tokens=2).json()["reason"] == "slow")
    assert time.monotonic() - began < 5
    asked = len(running.engine.requests)
    began = time.monotonic()
    assert running.ask(PROBATION).json()["source"] == "knowledge" and time.monotonic() - began < 1
    wait_until(lambda: "canary" in [request.id for request in running.engine.requests[asked:]])
    running.engine.seconds_a_token = 0.025
    wait_until(lambda: running.ask(PROBATION).json()["source"] == "tuned")


def test_an_engine_process_that_is_gone_and_comes_back(start: Start, bundle_folder: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        engine = FakeEngine(Prompt.load(bundle_folder))
        first = stack.enter_context(ExitStack())
        url = first.enter_context(engine_served(engine, tmp_path / "own.sock"))
        running = start(engine_url=url)
        assert running.ask(PROBATION).json()["source"] == "tuned"
        first.close()
        wait_until(lambda: running.ask(PROBATION).json()["reason"] in ("unavailable", "loading"))
        stack.enter_context(engine_served(engine, tmp_path / "own.sock"))
        wait_until(lambda: running.ask(PROBATION).json()["source"] == "tuned")


def test_a_model_that_cannot_be_loaded_is_named(start: Start, bundle_folder: Path) -> None:
    engine = FakeEngine(Prompt.load(bundle_folder))
    running = start(engine)
    client = running.service.gateway.engine
    status = client.status
    client._status = type(status)("failed", status.health, problem="adapter/adapter_model.safetensors: missing")
    assert client.unavailable() == "no_model"
    assert "adapter_model" in running.http.get("/info").json()["problems"][0]


@pytest.mark.anyio
async def test_places_come_back_after_many_mixed_requests(start: Start) -> None:
    running = start(params=(*UNLIMITED, ("concurrent: 32", "concurrent: 500")))
    running.engine.seconds_a_token = 0.001
    async with httpx.AsyncClient(base_url=running.service.url, timeout=30) as http:

        async def one(number: int) -> None:
            if number % 5 == 0:
                async with http.stream("POST", "/ask", json={"question": PROBATION, "stream": True}) as response:
                    async for _ in response.aiter_bytes():
                        break
            elif number % 7 == 0:
                await http.post("/ask", json={"question": ""})
            else:
                await http.post("/ask", json={"question": PROBATION, "max_tokens": number % 9 + 1})

        for begin in range(0, 300, 30):
            await asyncio.gather(*(one(number) for number in range(begin, begin + 30)))
    gateway = running.service.gateway
    wait_until(lambda: not gateway.model.admission.tickets and not gateway.limits._running and not gateway.limits._reserved)
    assert not gateway.engine._scopes
    assert running.ask(PROBATION).json()["source"] == "tuned"
