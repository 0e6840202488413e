"""Time and memory of validate, convert and split on many rows made from the sample.

    python benchmarks/data.py [--rows 1000000]

The rows mix sentences of the sample at random, so that most questions differ; one in fifty repeats an earlier row, one in
fifty holds an invented phone number, one in a hundred is empty. The last line is JSON.
"""

import argparse
import csv
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("validate", "convert", "split")
SENTENCE = re.compile(r"[^。！？；\n]+[。！？；]?")


def make(path: Path, rows: int, seed: int = 1) -> None:
    """Write ``rows`` records to a CSV."""
    chance = random.Random(seed)
    with (ROOT / "data/sample/legal_qa.csv").open(encoding="utf-8-sig", newline="") as stream:
        sample = list(csv.DictReader(stream))
    titles = [row["title"] for row in sample if row["title"]]
    asked = [part for row in sample for part in SENTENCE.findall(row["question"])]
    said = [part for row in sample for part in SENTENCE.findall(row["reply"]) if len(part) > 5]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["title", "question", "reply", "is_best"])
        recent: list[list[object]] = []
        for number in range(rows):
            if recent and number % 50 == 0:
                writer.writerow(chance.choice(recent))
                continue
            question = "".join(chance.choices(asked, k=2)) + f"涉及{chance.randrange(1000, 900000)}元。"
            reply = "".join(chance.choices(said, k=3))
            if number % 50 == 1:
                reply += f"我的手机是1380000{chance.randrange(10000):04d}。"
            if number % 100 == 2:
                reply = ""
            row = [chance.choice(titles), question, reply, int(chance.random() < 0.7)]
            writer.writerow(row)
            recent = [*recent[-99:], row]


def run(rows: int) -> tuple[dict[str, float], float, float]:
    """Seconds of each stage, processor seconds of all, and the largest resident memory of any in GB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder / "rows.csv", rows)
        yaml = YAML()
        params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        params["data"]["source"] = "rows.csv"
        with (folder / "params.yaml").open("w", encoding="utf-8") as stream:
            yaml.dump(params, stream)
        seconds: dict[str, float] = {}
        peak, busy = 0, 0.0
        for stage in STAGES:
            started = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                sys.exit(f"{stage} ended with {process.returncode} on {rows} rows")
            seconds[stage] = round(time.monotonic() - started, 1)
            peak = max(peak, usage.ru_maxrss)
            busy += usage.ru_utime + usage.ru_stime
        return seconds, busy, peak * 1024 / 1e9


def main() -> None:
    """Measure a tenth of the rows, then all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    tenth, busy_tenth, _ = run(rows // 10)
    seconds, busy, peak = run(rows)
    total = sum(seconds.values())
    growth = f"growth_{rows // 10_000}k_to_{'1m' if rows == 1_000_000 else f'{rows // 1000}k'}"
    result = {
        "rows": rows,
        "seconds": round(total, 1),
        "peak_gb": round(peak, 2),
        "seconds_per_stage": seconds,
        growth: round(total / sum(tenth.values()), 2),
        "processor_seconds": round(busy, 1),  # what a busy machine does not distort
        f"{growth}_processor": round(busy / busy_tenth, 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
