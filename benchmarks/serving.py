"""The service under load: speed against three rivals, three times too much, and faults. A table, a picture, a line of JSON.

`.venv/bin/python benchmarks/serving.py --bundle models/bundle` measures what needs nothing else; `--llamacpp-python` names the
Python of an environment with xllamacpp, `--gguf` the file it runs. One server at a time, loopback only. With `--keep FILE` a
run may be cut in parts (`--only`, `--servers`, `--kinds`): each adds its figures to the file, and shows all that are there.
The questions are those of data/splits that the model of the bundle was not trained on: `make repro` first. A virtual machine
may change its pace within minutes: `--rounds 5 --servers "ours;llama.cpp" --at-once 1` lets two servers take turns.
"""

import argparse
import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import rivals  # noqa: E402
from benchmarks.faults import KINDS, faults, worst  # noqa: E402
from benchmarks.load import NEW_TOKENS, PLAIN, Client, Sample, quantile, tokens_per_s  # noqa: E402
from legalqa.bundle import Bundle  # noqa: E402
from legalqa.provenance import sha256_of_files  # noqa: E402
from legalqa.records import read_jsonl  # noqa: E402

AT_ONCE = (1, 2, 4, 8, 16)
SERVERS = ("ours", "ours, other weights", "adaptive batching", "llama.cpp", "transformers serve")
RAMP_S = 15.0
RIVAL_S = 900.0  # a server that has not answered all by then is not compared
SPLITS = ROOT / "data/splits"

Rounds = dict[int, list[dict[str, float]]]
"""Requests at once -> the figures of each round."""


def questions(number: int | None = None) -> list[str]:
    """All, or up to so many, of mixed lengths, none of which the model was trained on; the same ones for every server."""
    texts = [one.question for name in ("dev", "test") for one in read_jsonl(SPLITS / f"{name}.jsonl")]
    return random.Random(1).sample(texts, min(number or len(texts), len(texts)))


def asked_about(at_once: int) -> int:
    """How many questions a closed loop of so many clients asks."""
    return max(16, 3 * at_once)


async def speed(server: rivals.Server, extra: dict[str, object], loads: Sequence[int]) -> dict[int, dict[str, float]]:
    """Tokens a second, first token and gaps between tokens, at each number of requests at once."""
    client = Client(server.url, server.model, NEW_TOKENS, extra)
    await client.closed_loop(questions(2), 2)  # warm
    measured: dict[int, dict[str, float]] = {}
    for at_once in loads:
        samples, seconds = await client.closed_loop(questions(asked_about(at_once)), at_once)
        firsts = [sample.first_s for sample in samples]
        gaps = [gap for sample in samples for gap in sample.gaps]
        measured[at_once] = {
            "tokens_per_s": tokens_per_s(samples, seconds),
            "first_p50_s": quantile(firsts, 0.5),
            "first_p99_s": quantile(firsts, 0.99),
            "gap_p50_s": quantile(gaps, 0.5),
            "gap_p99_s": quantile(gaps, 0.99),
            "answers_per_s": len(samples) / seconds,
            "failed": sum(sample.status != 200 or sample.source not in ("", "tuned") for sample in samples),
        }
        print(
            f"  {at_once:3} at once: " + ", ".join(f"{name} {value:.3g}" for name, value in measured[at_once].items()),
            flush=True,
        )
    await client.close()
    return measured


def goodput(samples: Sequence[Sample], seconds: float) -> float:
    """Good answers that ended, a second, from when the first ones have had their time until no more questions come."""
    return sum(sample.good and RAMP_S <= sample.at + sample.whole_s <= seconds for sample in samples) / (seconds - RAMP_S)


async def overload(server: rivals.Server, seconds: float) -> dict[str, Any]:
    """Poisson arrivals at the capacity that sixteen clients in a closed loop have here and now, then at three times that."""
    client = Client(server.url, server.model, NEW_TOKENS)  # look-ups as they are by default
    closed, took = await client.closed_loop(questions(asked_about(max(AT_ONCE))), max(AT_ONCE))
    answers_per_s = sum(sample.good for sample in closed) / took
    asked = questions()
    at_capacity = goodput(await client.open_loop(asked, answers_per_s, seconds), seconds)
    under = await client.open_loop(asked, 3 * answers_per_s, seconds)
    at_3x = goodput(under, seconds)
    turned_away = [sample.whole_s for sample in under if sample.source != "tuned"]
    await client.close()
    found: dict[str, Any] = {
        "goodput_at_3x": at_3x / at_capacity,
        "goodput_at_3x_to_closed_loop": at_3x / answers_per_s,
        "turned_away_p50_ms": 1000 * quantile(turned_away, 0.5),
        "turned_away_p99_ms": 1000 * quantile(turned_away, 0.99),
        "broken_off_at_3x": sum(sample.source == "tuned" and not sample.good for sample in under),
        "other_5xx": sum(sample.status >= 500 and sample.status != 503 for sample in under),
        "unanswered_at_3x": sum(sample.status == 0 and not sample.text for sample in under),
    }
    by = Counter(sample.source or str(sample.status) for sample in under)
    print(
        f"  closed loop {answers_per_s:.2f}/s, as many arrivals {at_capacity:.2f}/s, 3x {at_3x:.2f}/s, {found}, by {dict(by)}"
    )
    return found


async def memory(server: rivals.Server, number: int = 500) -> dict[str, Any]:
    """Resident memory of all our processes before and after mixed requests: of any length, broken off, and faulty ones."""
    chance = random.Random(2)
    client = Client(server.url, server.model, NEW_TOKENS, {})

    async def one() -> None:
        kind = chance.random()
        if kind < 0.1:
            await client.leave(chance.choice(texts))
        elif kind < 0.15:
            await client.ask("")
        else:
            await client.ask(chance.choice(texts) * chance.randint(1, 6), max_tokens=chance.randint(1, NEW_TOKENS))

    async def run(left: int) -> None:
        free = asyncio.Semaphore(16)

        async def bounded() -> None:
            async with free:
                await one()

        await asyncio.gather(*(bounded() for _ in range(left)))

    texts = questions(40)
    longest = max(texts, key=len) * 6
    # The engine sets memory aside for every token of every slot; the system hands it out when it is first written to.
    await asyncio.gather(*(client.ask(longest) for _ in range(max(AT_ONCE))))
    await run(100)
    seen = [server.resident_bytes()]
    for _ in range(2):
        await run(number // 2)
        seen.append(server.resident_bytes())
    await client.close()
    print(f"  {number} mixed requests, MB before, half-way, after: {[round(one / 1e6) for one in seen]}", flush=True)
    return {"memory_before_mb": seen[0] / 1e6, "memory_after_mb": seen[-1] / 1e6, "memory_growth": seen[-1] / seen[0] - 1}


def parity(bundle: Bundle, weights: str, number: int = 50) -> dict[str, Any]:
    """Greedy tokens of requests one by one against the same all at once."""
    from legalqa.engine.interface import GenerationRequest
    from legalqa.records import Message
    from serving.engines import open_engine
    from serving.settings import Settings

    engine = open_engine(Settings(params=ROOT / "params.yaml", bundle=bundle.folder, engine="transformers", weights=weights))  # type: ignore[arg-type]
    engine.start()
    asked = [
        GenerationRequest(bundle.prompt.completion([Message(role="user", content=text)]), NEW_TOKENS)
        for text in questions(number)
    ]
    alone = [engine.generate_many([request])[0].token_ids for request in asked]
    together = [completion.token_ids for completion in engine.generate_many(asked)]
    engine.stop()
    same = sum(map(tuple.__eq__, alone, together))
    print(f"  the same tokens alone and in company: {same} of {len(asked)}", flush=True)
    return {"same_tokens": same, "same_tokens_of": len(asked)}


def picture(path: Path, measured: dict[str, Rounds]) -> None:
    """Tokens a second over requests at once, a line a server."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for name, by_load in measured.items():
        rates = [median(one["tokens_per_s"] for one in rounds) for rounds in by_load.values()]
        axes.plot(list(by_load), rates, marker="o", label=name)
    axes.set(xlabel="requests at once", ylabel="tokens a second", xticks=AT_ONCE, ylim=(0, None))
    axes.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure what was asked for, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=ROOT / "models/bundle")
    parser.add_argument("--weights", default="int8", help="of our engine; the other of int8 and bf16 is measured too")
    parser.add_argument("--llamacpp-python", type=Path)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--only", default="speed,overload,faults,memory,parity")
    parser.add_argument("--servers", default=";".join(SERVERS), help="to compare, separated by ';'")
    parser.add_argument("--at-once", default=",".join(map(str, AT_ONCE)), help="requests, in the comparison of speed")
    parser.add_argument("--rounds", type=int, default=1, help="of that comparison, the servers in turn; medians are shown")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of faults")
    parser.add_argument("--faults", type=int, default=20, help="of each kind")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each overload run")
    parser.add_argument("--keep", type=Path, help="a JSON file that takes the figures of all parts")
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle.resolve(), verify=False)
    wanted, servers = given.only.split(","), given.servers.split(";")
    if "overload" in wanted and given.seconds <= RAMP_S:
        parser.error(f"--seconds: {given.seconds:g}, more than {RAMP_S:g} expected: what ends before that does not count")
    if not SPLITS.is_dir() or sha256_of_files([SPLITS]) != bundle.manifest.data["splits"]:
        parser.error(f"{SPLITS}: not what {given.bundle} was trained on: make repro, or dvc checkout")
    if len(questions()) < asked_about(max(AT_ONCE)):
        parser.error(f"{SPLITS}: {len(questions())} questions in dev and test, at least {asked_about(max(AT_ONCE))} expected")
    kept = json.loads(given.keep.read_text(encoding="utf-8")) if given.keep and given.keep.exists() else {}
    measured: dict[str, Rounds] = {
        name: {int(at_once): rounds for at_once, rounds in by_load.items()} for name, by_load in kept.get("speed", {}).items()
    }
    result: dict[str, Any] = kept.get("result", {}) | {"weights": given.weights, "cpus": os.cpu_count()}

    loads = list(map(int, given.at_once.split(",")))
    begun: set[str] = set()
    failures: dict[str, str] = result.setdefault("not_measured", {})

    def keep() -> None:
        if given.keep:
            given.keep.write_text(json.dumps({"speed": measured, "result": result}, ensure_ascii=False), encoding="utf-8")

    def add(figures: dict[str, Any]) -> None:
        result.update(figures)
        keep()

    def race(name: str, starting: Callable[[], AbstractContextManager[rivals.Server]], extra: dict[str, object]) -> None:
        if name in servers and not (name in begun and name in failures):
            print(name, flush=True)
            if name not in begun:  # what an earlier run has kept
                begun.add(name)
                failures.pop(name, None)
                measured[name] = {at: rounds for at, rounds in measured.get(name, {}).items() if at not in loads}
            try:
                with starting() as server:
                    found = asyncio.run(asyncio.wait_for(speed(server, extra, loads), RIVAL_S))
                for at_once, figures in found.items():
                    measured.setdefault(name, {}).setdefault(at_once, []).append(figures)
            except (TimeoutError, rivals.FailedError) as error:
                measured.pop(name, None)
                failures[name] = str(error) or f"not all questions were answered within {RIVAL_S:.0f} s"
                print(f"  not measured: {failures[name]}", flush=True)
            keep()

    def against(work: Callable[[rivals.Server], Coroutine[Any, Any, dict[str, Any]]], patient: bool = False) -> dict[str, Any]:
        with rivals.ours(bundle.folder, given.weights, patient=patient) as server:
            return asyncio.run(work(server))

    if "speed" in wanted:
        other = "bf16" if given.weights == "int8" else "int8"
        for _ in range(given.rounds):
            race("ours", lambda: rivals.ours(bundle.folder, given.weights, patient=True), PLAIN)
            race("ours, other weights", lambda: rivals.ours(bundle.folder, other, patient=True), PLAIN)
            race("adaptive batching", lambda: rivals.adaptive(bundle.folder), {})
            if given.llamacpp_python and given.gguf:
                race("llama.cpp", lambda: rivals.llamacpp(given.llamacpp_python, given.gguf, max(AT_ONCE)), {})
            race("transformers serve", lambda: rivals.transformers_serve(bundle.base), {})
        table(measured)
        picture(ROOT / "reports/benchmarks/serving.png", measured)
    if "overload" in wanted:
        print("three times too much", flush=True)
        add(against(lambda server: overload(server, given.seconds)))
    if "memory" in wanted:
        print("memory", flush=True)
        add(against(memory, patient=True))
    if "parity" in wanted:
        print("parity", flush=True)
        add(parity(bundle, given.weights))
    for kind in given.kinds.split(",") if "faults" in wanted else []:
        print(kind, flush=True)
        found = against(lambda server, kind=kind: faults(server, bundle, questions(), given.faults, kind))
        add({"faults": result.get("faults", {}) | {kind: found}})
    print(json.dumps(result | ratios(measured) | worst(result.get("faults", {})), ensure_ascii=False))


def table(measured: dict[str, Rounds]) -> None:
    """Every figure of every server, medians of its rounds."""
    print(f"\n{'server':20}{'at once':>8}{'tokens/s':>10}{'first p50':>11}{'first p99':>11}{'gap p50':>9}{'gap p99':>9}")
    for name, by_load in measured.items():
        for at_once, rounds in by_load.items():
            middle = {key: median(one[key] for one in rounds) for key in rounds[0]}
            times: Sequence[str] = [f"{middle[key]:.3f}" for key in ("first_p50_s", "first_p99_s", "gap_p50_s", "gap_p99_s")]
            print(f"{name:20}{at_once:8}{middle['tokens_per_s']:10.1f}{times[0]:>11}{times[1]:>11}{times[2]:>9}{times[3]:>9}")


def ratios(measured: dict[str, Rounds]) -> dict[str, float | None]:
    """Ours against each rival, the median over rounds in which both were measured; None for what was not."""

    def rates(name: str, at_once: int) -> list[float]:
        return [one["tokens_per_s"] for one in measured.get(name, {}).get(at_once, [])]

    def ratio(name: str, at_once: int) -> float | None:
        pairs = list(zip(rates("ours", at_once), rates(name, at_once), strict=False))
        return round(median(mine / theirs for mine, theirs in pairs), 3) if pairs else None

    return {f"tokens_per_s_{at_once}": median(own) if (own := rates("ours", at_once)) else None for at_once in (1, 16)} | {
        "ratio_to_adaptive_batching": ratio("adaptive batching", 16),
        "ratio_to_llamacpp_1": ratio("llama.cpp", 1),
        "ratio_to_llamacpp_16": ratio("llama.cpp", 16),
        "ratio_to_transformers_serve_16": ratio("transformers serve", 16),
    }


if __name__ == "__main__":
    try:
        main()
    except rivals.FailedError as error:
        sys.exit(str(error))
