"""Limits for each client: requests and tokens a minute (the `limits` library, in memory or in Redis), and requests at once.

Tokens are reserved at their most (prompt and all that may be written) and counted as what they were. When Redis can't be
reached, each replica goes on with limits of its own.
"""

import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from legalqa.params import LimitParams

log = logging.getLogger("legalqa.limits")

Kind = Literal["requests", "tokens", "concurrent"]


@dataclass(frozen=True)
class Verdict:
    """``allowed`` or not, with what the X-RateLimit headers say; ``reset_s`` is when to ask again."""

    kind: Kind
    allowed: bool
    limit: int
    remaining: int
    reset_s: float

    def headers(self) -> dict[str, str]:
        """The usual headers, and Retry-After when it was refused."""
        name = "" if self.kind == "requests" else f"-{self.kind.title()}"
        headers = {
            f"X-RateLimit-Limit{name}": str(self.limit),
            f"X-RateLimit-Remaining{name}": str(max(self.remaining, 0)),
            f"X-RateLimit-Reset{name}": str(max(int(self.reset_s + 0.999), 0)),
        }
        return headers if self.allowed else headers | {"Retry-After": str(max(int(self.reset_s + 0.999), 1))}


class Limits:
    """Counts for every client; ``client`` is a key's id or an address."""

    def __init__(self, params: LimitParams, redis_url: str = "") -> None:
        self._params = params
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._pool = ConnectionPool.from_url(redis_url, socket_timeout=0.5, socket_connect_timeout=0.5) if redis_url else None
        self._shared = SlidingWindowCounterRateLimiter(_redis(redis_url, self._pool)) if self._pool else None
        self._shared_again = 0.0
        self._running: Counter[str] = Counter()
        self._reserved: Counter[str] = Counter()

    async def request(self, client: str, per_minute: int | None = None) -> Verdict:
        """Count one request."""
        return await self._count("requests", client, per_minute or self._params.requests_per_minute, 1, take=True)

    def enter(self, client: str, most: int | None = None) -> Verdict:
        """One more at once; ``leave`` gives it back when it was allowed."""
        limit = most or self._params.concurrent
        allowed = self._running[client] < limit
        self._running[client] += allowed
        return Verdict("concurrent", allowed, limit, limit - self._running[client], 1.0)

    def leave(self, client: str) -> None:
        """One less at once."""
        self._running[client] -= 1
        if self._running[client] <= 0:
            del self._running[client]

    async def reserve(self, client: str, tokens: int, per_minute: int | None = None) -> Verdict:
        """Hold the tokens that an answer may take at most; ``settle`` follows when it was allowed."""
        limit = per_minute or self._params.tokens_per_minute
        self._reserved[client] += tokens  # before anything is waited for, so that others see it
        held = False
        try:
            verdict = await self._count("tokens", client, limit, self._reserved[client], take=False)
            held = verdict.allowed
            return verdict
        finally:
            if not held:
                self._let_go(client, tokens)

    async def settle(self, client: str, reserved: int, used: int, per_minute: int | None = None) -> None:
        """Count what an answer took and let go of what was held for it.

        One that took more than is left of the minute (passages are looked up after the reservation) takes all of that.
        """
        self._let_go(client, reserved)
        limit = per_minute or self._params.tokens_per_minute
        if used > 0:
            verdict = await self._count("tokens", client, limit, used, take=True)
            if not verdict.allowed and verdict.remaining > 0:
                await self._count("tokens", client, limit, verdict.remaining, take=True)

    async def close(self) -> None:
        """Hang up on Redis."""
        if self._pool:
            await self._pool.disconnect()

    def _let_go(self, client: str, tokens: int) -> None:
        self._reserved[client] -= tokens
        if self._reserved[client] <= 0:
            del self._reserved[client]

    async def _count(self, kind: Kind, client: str, limit: int, cost: int, take: bool) -> Verdict:
        if self._shared and time.monotonic() >= self._shared_again:
            try:
                return await _ask(self._shared, kind, client, limit, cost, take)
            except (StorageError, RedisError, OSError, TimeoutError) as error:
                log.warning("Redis can't be asked (%s); limits hold for this process alone", type(error).__name__)
                self._shared_again = time.monotonic() + 5.0
        return await _ask(self._own, kind, client, limit, cost, take)


def _redis(url: str, pool: ConnectionPool) -> RedisStorage:
    given: dict[str, Any] = {"connection_pool": pool}  # the annotations of `limits` don't know that it takes one
    return RedisStorage(f"async+{url}", implementation="redispy", wrap_exceptions=True, **given)


async def _ask(counter: SlidingWindowCounterRateLimiter, kind: Kind, client: str, limit: int, cost: int, take: bool) -> Verdict:
    item = RateLimitItemPerMinute(limit, namespace="legalqa")
    allowed = await (counter.hit if take else counter.test)(item, kind, client, cost=cost)
    stats = await counter.get_window_stats(item, kind, client)
    return Verdict(kind, allowed, limit, stats.remaining, max(stats.reset_time - time.time(), 0.0))
