"""Bulk items keep to themselves: their own answer, their own error, their own place."""

import re
from collections.abc import Iterator

import pytest

from legalqa.engine.interface import Delta, GenerationRequest
from serving.bulk import BulkItem, answer_all
from serving.exchange import Answer, Exchange
from tests.serving.conftest import Running, Start


@pytest.fixture
def echoing(start: Start) -> Iterator[Running]:
    running = start()

    def reply(request: GenerationRequest) -> str:
        marker = re.search(r"标记\d+", request.messages[-1].content)
        return f"答{marker.group()}" if marker else "无"

    running.engine.reply = reply
    yield running


@pytest.mark.anyio
async def test_each_answer_carries_its_own_marker(echoing: Running) -> None:
    for round_ in range(10):
        items = [BulkItem(question=f"标记{round_}{number}的问题", id=str(number)) for number in range(6)]
        items[2] = BulkItem(question=[" ", "长" * 3000, "\u200b"][round_ % 3], id="2")
        items[4] = BulkItem(question="标记？", id="4", max_tokens=0)
        results = await answer_all(echoing.service.gateway, items)
        assert [result.id for result in results] == [item.id for item in items]
        for number in (0, 1, 3, 5):
            result = results[number].result
            assert result and result["answer"] == f"答标记{round_}{number}"
        assert results[2].error and results[4].error
        assert results[4].error["code"] == "invalid_item"


@pytest.mark.anyio
async def test_an_engine_error_is_one_items_error(echoing: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = echoing.engine.stream

    async def stream(request: GenerationRequest):  # type: ignore[no-untyped-def]
        if "标记3" in request.messages[-1].content:
            yield Delta("", (), "error", "poison")
            return
        async for delta in whole(request):
            yield delta

    monkeypatch.setattr(echoing.engine, "stream", stream)
    items = [BulkItem(question=f"标记{number}的问题", allow_degraded=False) for number in range(5)]
    results = await answer_all(echoing.service.gateway, items)
    assert [bool(result.error) for result in results] == [False, False, False, True, False]


@pytest.mark.anyio
async def test_a_surprise_is_one_items_error_and_not_in_the_log(
    echoing: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = Exchange.whole

    async def surprising(exchange: Exchange) -> Answer:
        if "标记3" in exchange._ask.question:
            raise KeyError(exchange._ask.question)
        return await whole(exchange)

    monkeypatch.setattr(Exchange, "whole", surprising)
    results = await answer_all(echoing.service.gateway, [BulkItem(question=f"标记{n}的问题", id="a\nb") for n in range(5)])
    assert [result.error["code"] if result.error else None for result in results] == [None, None, None, "internal_error", None]
    assert {result.id for result in results} == {"a\nb"}
    assert "KeyError" in caplog.text and "标记" not in caplog.text
    assert all(request.id.isalnum() for request in echoing.engine.requests if request.id != "warm-up")
