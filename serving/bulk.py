"""Many questions at once: one result or one error an item, in order, whatever happens to the others."""

import asyncio
from typing import Any

from pydantic import BaseModel

from serving import forms
from serving.answers import RefusedError
from serving.bodies import AskBody, BadRequestError, question_ask
from serving.exchange import Exchange, TokensSpentError
from serving.gateway import Gateway
from serving.keys import Client

BULK = Client("bulk")  # a batch holds the items of many clients; each client's share was counted before it got here


class BulkItem(BaseModel):
    """One question with an ``id`` of the client's own. What is wrong with it becomes its error, not its neighbours'."""

    question: str
    id: str = ""
    max_tokens: int | None = None
    allow_degraded: bool = True


class BulkResult(BaseModel):
    """``result`` is what /ask gives, or ``error`` says what went wrong; exactly one of them is set."""

    id: str
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


async def answer_all(gateway: Gateway, items: list[BulkItem]) -> list[BulkResult]:
    """One result an item. So many at a time as the model writes together; the others wait here."""
    gateway.telemetry.batch(len(items))
    places = asyncio.Semaphore(gateway.params.max_batch)

    async def one(item: BulkItem) -> BulkResult:
        async with places:
            return await _answer(gateway, item)

    return list(await asyncio.gather(*map(one, items)))


async def _answer(gateway: Gateway, item: BulkItem) -> BulkResult:
    try:
        body = AskBody(question=item.question, max_tokens=item.max_tokens, allow_degraded=item.allow_degraded)
        defaults = gateway.info.get("generation", {})
        ask = question_ask(body, gateway.params, gateway.prompt, defaults, float("inf"), item.id)
    except BadRequestError as error:
        return _failed(item, error.code, str(error))
    except ValueError as error:
        return _failed(item, "invalid_item", str(error))
    exchange = Exchange(gateway, ask, BULK)
    try:
        return BulkResult(id=item.id, result=forms.ask_answer(await exchange.whole()))
    except (RefusedError, TokensSpentError) as error:
        return _failed(item, getattr(error, "code", "rate_limit_exceeded"), str(error))
    finally:
        await exchange.close()


def _failed(item: BulkItem, code: str, message: str) -> BulkResult:
    return BulkResult(id=item.id, error={"code": code, "message": message})
