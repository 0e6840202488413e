"""Many questions at once: one result or one error an item, in order, whatever happens to the others."""

import asyncio
import logging
import secrets
from typing import Any

from pydantic import BaseModel, ValidationError

from serving import forms
from serving.answers import RefusedError
from serving.bodies import AskBody, BadRequestError, Body, question_ask
from serving.exchange import Exchange, TokensSpentError
from serving.gateway import Gateway
from serving.keys import Client, Key

log = logging.getLogger("legalqa.access")

# A batch holds the items of many clients; the guard has counted each client's share before it got here.
BULK = Client("bulk", Key(id="bulk", sha256="0" * 64, tokens_per_minute=2**40))


class BulkItem(Body):
    """One question with an ``id`` of the client's own. What is wrong with it becomes its error, not its neighbours'."""

    question: str
    id: str = ""
    max_tokens: int | None = None
    allow_degraded: bool = True


# The guard reads it before BentoML does, which would write a body that is wrong, questions and all, into its log.
class BulkBody(Body):
    """POST /bulk."""

    items: list[BulkItem]

    def tokens(self, default_new: int, most_new: int) -> int:
        """About so many tokens will be read and written for it, at most."""
        return sum(len(one.question.encode()) // 3 + min(max(one.max_tokens or default_new, 0), most_new) for one in self.items)


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
            try:
                return await _answer(gateway, item)
            except Exception as error:  # whatever it was, it is this item's alone
                log.error("an item of /bulk failed: %s", type(error).__name__)
                return _failed(item, "internal_error", "this item could not be answered")

    return list(await asyncio.gather(*map(one, items)))


async def _answer(gateway: Gateway, item: BulkItem) -> BulkResult:
    try:
        body = AskBody(question=item.question, max_tokens=item.max_tokens, allow_degraded=item.allow_degraded)
        defaults = gateway.info.get("generation", {})
        ask = question_ask(body, gateway.params, gateway.prompt, defaults, float("inf"), secrets.token_hex(8))
    except BadRequestError as error:
        return _failed(item, error.code, str(error))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return _failed(item, "invalid_item", f"{first['loc'][0]}: {first['msg']}")
    exchange = Exchange(gateway, ask, BULK)
    try:
        return BulkResult(id=item.id, result=forms.ask_answer(await exchange.whole()))
    except (RefusedError, TokensSpentError) as error:
        return _failed(item, getattr(error, "code", "rate_limit_exceeded"), str(error))
    finally:
        await exchange.close()


def _failed(item: BulkItem, code: str, message: str) -> BulkResult:
    return BulkResult(id=item.id, error={"code": code, "message": message})
