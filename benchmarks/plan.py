"""How well the plan foretells memory and time: planned, calibrated by two steps, then trained; a row of a table each.

`python benchmarks/plan.py [NUMBER ...]` takes some of the configurations, of which each runs about two minutes on two cores.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.training import BASE, PARAMS, conversations  # noqa: E402
from legalqa.problems import UserError  # noqa: E402
from legalqa.prompt import Prompt  # noqa: E402
from legalqa.training import plan  # noqa: E402
from legalqa.training.curves import read_log  # noqa: E402
from legalqa.training.job import DEV, LOG, TRAIN, Job, settled  # noqa: E402
from legalqa.training.launch import launch  # noqa: E402
from legalqa.training.machine import PROCESSES, detect  # noqa: E402
from legalqa.training.packing import tokenise  # noqa: E402
from legalqa.training.shapes import Shape, memory  # noqa: E402

TRAINED, DEV_SAMPLES = 64, 8
CONFIGURATIONS: list[dict[str, Any]] = [
    {"processes": 2},
    {"processes": 2, "pack_tokens": 1024},
    {"processes": 2, "gradient_checkpointing": True},
    {"processes": 2, "quantise": "int8"},
    {"processes": 2, "quantise": "nf4"},
    {"processes": 1},
    {"processes": 2, "max_length": 256, "pack_tokens": 256},
    {"processes": 2, "zero": 3},
    {"processes": 2, "lora": PARAMS.lora.model_copy(update={"r": 128, "alpha": 256})},
]


def row(processes: int, **keys: Any) -> str:
    """Plan, calibrate and train one configuration. Raises UserError for one that this machine refuses."""
    os.environ[PROCESSES] = str(processes)
    params = PARAMS.model_copy(update={"checks": 2, **keys})
    machine = detect(params.precision, params.batch)
    params = settled(params, machine)
    prompt = Prompt.from_base(BASE)
    made = conversations()
    parts = {TRAIN: made[:TRAINED], DEV: made[-DEV_SAMPLES:]}
    samples = {name: tokenise(name, part, prompt, params.max_length) for name, part in parts.items()}
    shape, wide = Shape.of(BASE, "base"), machine.precision == "fp32"
    data = plan.measure(samples, params, machine, shape)
    need = memory(shape, params, machine.device, machine.world, machine.processes, wide, data.longest).total
    before = plan.estimate(shape, params, machine, data).seconds(data, params.checks)
    pace, _ = plan.calibrate(params, machine, samples, prompt.pad_id, BASE)
    after = pace.seconds(data, params.checks)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, tokens in samples.items():
            tokens.save(folder / part)
        started = time.monotonic()
        launch(Job(params=params, machine=machine, base=BASE.resolve(), folder=folder, pad_id=prompt.pad_id), lambda *_: None)
        took = time.monotonic() - started
        peak = max(line["memory_gb"] for line in read_log(folder / LOG) if "memory_gb" in line)
    said = ", ".join(f"{key}: {getattr(value, 'r', value)}" for key, value in {"processes": processes, **keys}.items())
    times = f"{before:.0f} | {after:.0f} | {took:.0f} | {after / took - 1:+.0%}"
    return f"| {said} | {need:.2f} | {peak:.2f} | {need / peak - 1:+.0%} | {times} |"


def main(chosen: list[int]) -> None:
    """Print the table."""
    print("| setting | planned, GB | measured, GB | off | planned, s | calibrated, s | measured, s | off |")
    print("|---|---|---|---|---|---|---|---|")
    for number in chosen:
        try:
            print(row(**CONFIGURATIONS[number]), flush=True)
        except UserError as error:
            print(f"{CONFIGURATIONS[number]} not here: {error}", file=sys.stderr)


if __name__ == "__main__":
    main([int(number) for number in sys.argv[1:]] or list(range(len(CONFIGURATIONS))))
