"""An engine killed, stopped and slowed under steady load: is everybody answered, is every label true, how soon is it over."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx

from benchmarks.load import NEW_TOKENS, PLAIN, Client, quantile
from benchmarks.rivals import FailedError, Server
from legalqa.bundle import Bundle
from legalqa.knowledge.retrieval import Knowledge
from serving.library import CANNED

KINDS = ("kill", "stop", "slow")
BACK_WITHIN_S = 300.0  # an engine that takes longer has gone for good, and the run fails
WITHIN_S, WITHIN_CALLS = 5.0, 10  # a fault that took both longer and more questions to be noticed is late


async def _mode(url: str) -> str:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
        return str((await http.get(f"{url}/healthz/engine")).json()["model"])


class Faults:
    """Kills, stops and slows the engine while questions go on; keeps when each began and when the model answered again."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.times: list[tuple[float, float, float]] = []  # begun, over, the model back; of time.monotonic()

    async def run(self, kind: str, times: int) -> None:
        """So many faults of one kind, each after the last one is over."""
        for _ in range(times):
            await self._until_back()
            await asyncio.sleep(2)
            pid = self._server.engine_pid()
            begun = time.monotonic()
            await getattr(self, f"_{kind}")(pid)
            over = time.monotonic()
            await self._until_back()
            self.times.append((begun, over, time.monotonic()))

    async def _kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        while await _mode(self._server.url) == "ready":
            await asyncio.sleep(0.05)

    async def _stop(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(8)
        os.kill(pid, signal.SIGCONT)

    async def _slow(self, pid: int) -> None:
        """Stopped for nine tenths of the time."""
        for _ in range(40):
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(0.18)
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(0.02)

    async def _until_back(self) -> None:
        client = Client(self._server.url, self._server.model, 4, PLAIN)
        try:
            async with asyncio.timeout(BACK_WITHIN_S):
                while not (await client.ask("试用期最长多久？")).good:
                    await asyncio.sleep(0.3)
        except TimeoutError:
            raise FailedError(f"the model did not answer again within {BACK_WITHIN_S:.0f} s") from None
        finally:
            await client.close()


async def faults(server: Server, bundle: Bundle, questions: Sequence[str], times: int, kind: str) -> dict[str, Any]:
    """Faults of one kind under half the load that the service can bear: is everybody answered, is every label true, how soon is
    it noticed, how soon is it over.
    """
    client = Client(server.url, server.model, NEW_TOKENS, PLAIN)
    closed, took = await client.closed_loop(questions[:48], 16)
    per_s = sum(sample.good for sample in closed) / took / 2
    print(f"  {per_s:.2f} questions a second", flush=True)
    known = {passage.text for passage in Knowledge.load(bundle.knowledge).passages} | {CANNED}
    script = Faults(server)
    zero = time.monotonic()
    samples = await client.open_loop(questions, per_s, 0, during=lambda: script.run(kind, times))
    await client.close()
    quoted = [sample for sample in samples if sample.source in ("knowledge", "canned")]
    generated = [sample for sample in samples if sample.source == "tuned"]
    truly = {sample.text for sample in quoted if sample.text.split("：", 1)[-1] in known or sample.text in known}
    mislabelled = sum(sample.text not in truly for sample in quoted) + sum(sample.text in known for sample in generated)
    detected, calls, after = [], [], []
    for begun, _, back in script.times:
        during = [s for s in quoted if begun - zero <= s.at <= back - zero]
        # Who is turned away since others are served first says nothing about the engine.
        if telling := [s.at + s.whole_s for s in during if s.reason != "overload"]:
            noticed = min(telling)
            detected.append(noticed - (begun - zero))
            calls.append(sum(begun - zero <= s.at < noticed for s in samples))
            after += [s.whole_s for s in during if s.at > noticed]
    found = {
        "asked": len(samples),
        "by": dict(Counter(sample.source or str(sample.status) for sample in samples)),
        "unanswered": sum(sample.status not in (200, 429, 503) and not sample.text for sample in samples),
        "broken_off": sum(sample.status == 0 and bool(sample.text) for sample in samples),
        "mislabelled": mislabelled,
        "faults": len(script.times),
        "detected": len(detected),
        "detect_s": max(detected, default=0.0),
        "detect_calls": max(calls, default=0),
        "detected_late": sum(s > WITHIN_S and n > WITHIN_CALLS for s, n in zip(detected, calls, strict=True)),
        "fallback_p50_ms": 1000 * quantile(after, 0.5),
        "fallback_p99_ms": 1000 * quantile(after, 0.99),
        "fallbacks": len(after),
        "recover_s": max((back - over for _, over, back in script.times), default=0.0),
    }
    print(f"  {found}", flush=True)
    return found


def worst(by_kind: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Over all kinds of faults: sums of what must not happen, the longest of each time; None for what was not measured."""
    sums, longest = ("unanswered", "mislabelled"), ("detect_s", "fallback_p99_ms", "recover_s")
    lines = list(by_kind.values())
    return {name: sum(line[name] for line in lines) if lines else None for name in sums} | {
        name: max(line[name] for line in lines) if lines else None for name in longest
    }
