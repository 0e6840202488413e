"""`python -m legalqa.training.plan`: what a training will need, from params and data alone, before anything is trained.

With --calibrate two real steps are run and the estimate is corrected by what they took.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from legalqa.params import Params, TrainParams, load_params
from legalqa.problems import Problem, UserError
from legalqa.prompt import Prompt
from legalqa.records import Conversation, read_jsonl
from legalqa.stage import stage
from legalqa.training.checkpoints import KEPT
from legalqa.training.curves import read_log
from legalqa.training.job import DEV, LOG, TRAIN, Job
from legalqa.training.launch import launch
from legalqa.training.machine import Machine, detect
from legalqa.training.packing import Samples, lay_out, plan_steps, tokenise
from legalqa.training.shapes import GB, PUBLIC, Memory, Shape, checkpoint_bytes, memory

BASE = Path("models/base")
SPLITS = [Path("data/splits/train.jsonl"), Path("data/splits/dev.jsonl")]
EFFICIENCY = 0.55  # share of the matrix product peak that a training reaches before it is calibrated
PACKAGED = "Qwen/Qwen2.5-Coder-0.5B-Instruct"
GPU_PEAK = 312e12  # bf16 FLOP/s of an A100 with 80 GB
GPU_GB, GPU_EFFICIENCY = 80.0, 0.4
TOKENS_PER_CHARACTER = 0.7  # of Chinese text, before the tokenizer is there


@dataclass(frozen=True)
class Data:
    """What the splits hold. ``steps`` of ``step_tokens`` tokens in all epochs together."""

    samples: int
    tokens: int
    answer_share: float
    cut: int
    dev_tokens: int
    steps: int
    trained_tokens: int
    micro_batches: int
    longest: int
    exact: bool


def read_data(params: TrainParams, machine: Machine) -> tuple[Data, dict[str, Samples] | None]:
    """Count samples, tokens and steps; by characters while the base's tokenizer is not there yet."""
    missing = [path for path in SPLITS if not path.exists()]
    if missing:
        raise UserError([Problem(str(path), "missing", fix="dvc repro split (seconds)") for path in missing])
    train, dev = (read_jsonl(path) for path in SPLITS)
    if not (BASE / "tokenizer.json").exists():
        lengths = [min(_guess(conversation), params.max_length) for conversation in train]
        steps = plan_steps(lengths, params.batch, params.epochs, params.seed)
        cut = sum(_guess(conversation) > params.max_length for conversation in train)
        share = sum(len(c.answer) for c in train) / max(1, sum(len(m.content) for c in train for m in c.conversations))
        dev_tokens = sum(map(_guess, dev))
        return _data(lengths, share, cut, dev_tokens, steps, params, machine, exact=False), None
    prompt = Prompt.from_base(BASE, params.system)
    samples = {name: tokenise(name, part, prompt, params.max_length) for name, part in ((TRAIN, train), (DEV, dev))}
    learned = samples[TRAIN]
    steps = plan_steps(learned.lengths, params.batch, params.epochs, params.seed)
    share = sum(learned.answer_tokens) / sum(learned.lengths)
    cut = len({*learned.prompt_cut, *learned.answer_cut, *learned.dropped})
    return _data(learned.lengths, share, cut, sum(samples[DEV].lengths), steps, params, machine, exact=True), samples


def _guess(conversation: Conversation) -> int:
    return 12 + round(TOKENS_PER_CHARACTER * sum(len(message.content) for message in conversation.conversations))


def _data(
    lengths: list[int],
    share: float,
    cut: int,
    dev: int,
    steps: list[list[int]],
    params: TrainParams,
    machine: Machine,
    *,
    exact: bool,
) -> Data:
    laid = lay_out(steps, lengths, machine.world, params.pack_tokens)
    trained = sum(lengths[index] for step in steps for index in step)
    longest = max(sum(lengths[index] for index in row) for step in laid for row in step)
    return Data(len(lengths), sum(lengths), share, cut, dev, len(steps), trained, len(laid[0]), longest, exact)


def matrix_peak(machine: Machine) -> float:
    """FLOP/s of matrix products on all processes: measured in a second on a CPU, a data sheet's on a GPU."""
    if machine.device == "cuda":
        return GPU_PEAK * machine.world
    import torch

    torch.set_num_threads(machine.threads)
    dtype = torch.bfloat16 if machine.precision == "bf16" else torch.float32
    left, right = torch.randn(512, 896, dtype=dtype), torch.randn(896, 4864, dtype=dtype)
    left @ right
    started, products = time.process_time(), 0
    while time.process_time() - started < 0.7:
        left @ right
        products += 1
    one = 2 * 512 * 896 * 4864 * products / (time.process_time() - started) * machine.threads
    return one * machine.world


def available_gb(machine: Machine) -> float:
    """Memory that one process may take."""
    if machine.device == "cuda":
        import torch

        return torch.cuda.get_device_properties(0).total_memory / GB
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        line = next(line for line in meminfo.read_text(encoding="ascii").splitlines() if line.startswith("MemAvailable"))
        free = int(line.split()[1]) * 1024
    return free / GB / machine.processes


def knobs(params: TrainParams, processes: int) -> list[tuple[str, TrainParams]]:
    """Settings that need less and less memory, the cheapest first."""
    small = params.model_copy(update={"pack_tokens": params.max_length})
    ladder = [("as it is", params), (f"pack_tokens: {params.max_length}", small)]
    check = small.model_copy(update={"gradient_checkpointing": True})
    ladder.append(("gradient_checkpointing: true", check))
    if processes > 1 and params.quantise == "none":
        ladder.append(("zero: 3", check.model_copy(update={"zero": 3})))
    ladder.append(("quantise: nf4", check.model_copy(update={"quantise": "nf4", "zero": 2})))
    ladder.append(
        ("zero: 3, offload: parameters", check.model_copy(update={"zero": 3, "offload": "parameters", "quantise": "none"}))
    )
    return ladder


def verdict(shape: Shape, params: TrainParams, machine: Machine, available: float, longest: int) -> str:
    """Fits, or the first knob with which it does."""
    for name, tried in knobs(params, machine.world):
        if name.startswith("zero: 3, offload") and machine.device == "cpu":
            continue
        need = memory(
            shape,
            tried,
            machine.device,
            machine.world,
            machine.processes,
            machine.precision == "fp32",
            min(longest, tried.pack_tokens),
        ).total
        if need <= available * 0.95:
            return "fits" if tried is params else f"does not fit; it would with {name} ({need:.1f} GB)"
    return "does not fit; use a smaller base or more devices"


def calibrate(params: TrainParams, machine: Machine, samples: dict[str, Samples], pad_id: int) -> tuple[float, float]:
    """Run two real steps. Returns tokens/s of all processes together and the peak GB of one."""
    per_epoch = max(1, round(len(samples[TRAIN]) / params.batch))
    short = params.model_copy(update={"epochs": 2 / per_epoch, "checks": 1})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples[TRAIN].save(folder / TRAIN)
        samples[DEV].first(machine.world).save(folder / DEV)
        launch(Job(params=short, machine=machine, base=BASE.resolve(), folder=folder, pad_id=pad_id), lambda *_: None)
        rows = [row for row in read_log(folder / LOG) if "tokens_per_s" in row]
    return rows[-1]["tokens_per_s"], max(row["memory_gb"] for row in rows)


def report(params: Params, *, measured: bool) -> str:
    """The whole plan as text."""
    train = params.train
    machine = detect(train.precision, train.batch)
    data, samples = read_data(train, machine)
    name = params.base.name or PACKAGED
    shape = Shape.of(BASE, name) if (BASE / "config.json").exists() else PUBLIC.get(name)
    if shape is None:
        raise UserError(Problem(str(BASE), "missing, and the shape of this base is not known", fix="dvc repro base"))
    wide = machine.precision == "fp32"
    need = memory(shape, train, machine.device, machine.world, machine.processes, wide, data.longest)
    work = shape.flops(train, data.answer_share, data.tokens / data.samples)
    speed, peak = matrix_peak(machine) * EFFICIENCY / work, need.total
    if measured and samples:
        speed, peak = calibrate(train, machine, samples, Prompt.from_base(BASE, train.system).pad_id)
    evaluations = data.dev_tokens * (train.checks + 1) / 2  # half the work of a trained token
    seconds = (data.trained_tokens + evaluations) / speed
    trained = shape.trainable(train)
    disk = checkpoint_bytes(shape, train) * (KEPT + 1)
    about = "" if data.exact else "about "
    how = "measured in two steps" if measured and samples else f"at {EFFICIENCY:.0%} of this machine's matrix peak"
    lines = [
        f"data       {data.samples} samples, {about}{data.tokens} tokens ({data.answer_share:.0%} learned), "
        f"{data.cut} shortened or dropped at max_length {train.max_length} ({data.cut / data.samples:.1%})",
        f"run        {data.steps} steps of {train.batch} conversations in {train.epochs:g} epochs, {machine.precision}, "
        f"{data.micro_batches} micro-batch(es) a step on {machine.world} process(es) x {machine.threads} thread(s)",
        f"model      {shape.name}: {shape.parameters / 1e9:.2f} billion parameters, "
        f"{trained:,} trainable ({trained / shape.parameters:.2%})",
        f"memory     {peak:.1f} GB a process: {_parts(need)}",
        f"disk       {disk / GB:.2f} GB of checkpoints, {trained * 2 / GB:.3f} GB adapter",
        f"time       {_time(seconds)} at {speed:,.0f} tokens/s ({how})",
        f"verdict    {verdict(shape, train, machine, available_gb(machine), data.longest)}",
        "",
        *zero_table(shape, train, machine),
        "",
        *public_table(train, data),
    ]
    return "\n".join(lines)


def _parts(need: Memory) -> str:
    names = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "runtime")
    return ", ".join(f"{name} {getattr(need, name):.2f}" for name in names)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def zero_table(shape: Shape, params: TrainParams, machine: Machine) -> list[str]:
    """GB a device for each ZeRO stage, and of the host with offload."""
    lines = [f"GB a device (+ host) of {shape.name} on {machine.world} device(s)"]
    for stage_number, offload in ((1, "none"), (2, "none"), (2, "optimizer"), (3, "none"), (3, "parameters")):
        tried = params.model_copy(update={"zero": stage_number, "offload": offload})
        need = memory(shape, tried, "cuda", machine.world, machine.processes, wide=False, tokens=params.pack_tokens)
        lines.append(f"  ZeRO-{stage_number}, offload {offload:10}  {need.total:6.1f}  + {need.host:.1f}")
    return lines


def public_table(params: TrainParams, data: Data) -> list[str]:
    """The least setting that fits GPUs of 80 GB, its memory, and time for samples like these."""
    lines = [f"on GPUs of {GPU_GB:.0f} GB: setting, GB a GPU, time for a million tokens"]
    for name in ("ChatGLM3-6B", "Llama-2-7B", "Qwen2.5-32B", "GLM-130B"):
        shape = PUBLIC[name]
        lines.append(f"  {name}, {shape.parameters / 1e9:.1f} billion parameters")
        for gpus in (1, 2, 4, 8, 16, 32, 64):
            lines.append(f"    {gpus:2} GPU(s)  {_on_gpus(shape, params, data, gpus)}")
    return lines


def _on_gpus(shape: Shape, params: TrainParams, data: Data, gpus: int) -> str:
    targets = params.model_copy(update={"lora": params.lora.model_copy(update={"targets": "all-linear"})})
    for name, tried in knobs(targets, gpus):
        need = memory(shape, tried, "cuda", gpus, min(gpus, 8), wide=False, tokens=tried.pack_tokens)
        if need.total <= GPU_GB * 0.95:
            work = shape.flops(tried, data.answer_share, data.tokens / data.samples) * 1e6
            host = f" + {need.host:.0f} GB host" if need.host >= 1 else ""
            return f"{name:28}  {need.total:5.1f} GB{host}  {_time(work / (GPU_PEAK * GPU_EFFICIENCY * gpus))}"
    return "does not fit"


def main(arguments: list[str]) -> None:
    """Print the plan for the project in the working directory."""
    parser = argparse.ArgumentParser(prog="python -m legalqa.training.plan", description=__doc__)
    parser.add_argument("--calibrate", action="store_true", help="run two real steps and correct the estimate")
    chosen = parser.parse_args(arguments)
    print(report(load_params(), measured=chosen.calibrate))


if __name__ == "__main__":
    with stage("plan"):
        main(sys.argv[1:])
