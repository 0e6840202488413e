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

from legalqa.base import hub
from legalqa.base.chatglm3 import native_config
from legalqa.base.identity import Identity
from legalqa.files import read_json
from legalqa.params import BaseParams, Params, TrainParams, load_params
from legalqa.problems import Problem, UserError
from legalqa.prompt import Prompt
from legalqa.records import Conversation, read_jsonl
from legalqa.stage import stage
from legalqa.training.checkpoints import KEPT
from legalqa.training.curves import read_log
from legalqa.training.fits import GPU_PEAK, duration, public_table, verdict, zero_table
from legalqa.training.job import DEV, LOG, TRAIN, Job, number_forms, refuse_unfit, settled
from legalqa.training.launch import launch
from legalqa.training.machine import Machine, detect
from legalqa.training.packing import Samples, lay_out, plan_steps, tokenise
from legalqa.training.shapes import GB, INT8_WORK, PUBLIC, Memory, Shape, checkpoint_bytes, memory

BASE = Path("models/base")
SPLITS = [Path("data/splits/train.jsonl"), Path("data/splits/dev.jsonl")]
EFFICIENCY = 0.55  # share of the matrix product peak that a training reaches before it is calibrated
FP32_TO_BF16 = 0.5  # work that a processor does in fp32 while it does one in bf16: vectors are half as long
START = 20.0  # seconds to start the processes, load the base and save, before they are calibrated
PACKAGED = "Qwen/Qwen2.5-Coder-0.5B-Instruct"
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


def base_is_here(params: BaseParams) -> bool:
    """Whether models/base holds the base that the params name."""
    if not (BASE / "config.json").exists():
        return False
    identity = Identity.load(BASE)
    named = params.name or (PACKAGED if params.source == "packaged" else identity.name)
    return (identity.source, identity.name) == (params.source, named)


def base_shape(params: BaseParams) -> Shape:
    """The base's shape: from its folder, else from a config.json, its own or the hub's (a kilobyte). Raises UserError."""
    if base_is_here(params):
        return Shape.of(BASE, Identity.load(BASE).name)
    if params.source == "packaged":
        return PUBLIC[PACKAGED]
    if params.source == "local":
        path = Path(str(params.path)).expanduser() / "config.json"
        if not path.is_file():
            raise UserError(Problem(str(path), "missing", "the base's configuration", "correct base.path"))
    else:
        path = hub.file(str(params.name), "config.json", str(params.revision))
    config = read_json(path)
    if config["model_type"] == "chatglm":
        config = native_config(config)
    return Shape.from_config(config, params.name or path.parent.name)


def read_data(params: TrainParams, machine: Machine, shape: Shape, *, exact: bool) -> tuple[Data, dict[str, Samples] | None]:
    """Count samples, tokens and steps; by characters, not ``exact``, while the base's tokenizer is not there yet."""
    missing = [path for path in SPLITS if not path.exists()]
    if missing:
        raise UserError([Problem(str(path), "missing", fix="dvc repro split (seconds)") for path in missing])
    train, dev = (read_jsonl(path) for path in SPLITS)
    if exact:
        prompt = Prompt.from_base(BASE, params.system)
        samples = {name: tokenise(name, part, prompt, params.max_length) for name, part in ((TRAIN, train), (DEV, dev))}
        return measure(samples, params, machine, shape), samples
    lengths = [min(_guess(conversation), params.max_length) for conversation in train]
    share = sum(len(c.answer) for c in train) / max(1, sum(len(m.content) for c in train for m in c.conversations))
    cut = sum(_guess(conversation) > params.max_length for conversation in train)
    return _data(lengths, share, cut, sum(map(_guess, dev)), params, machine, None), None


def measure(samples: dict[str, Samples], params: TrainParams, machine: Machine, shape: Shape) -> Data:
    """Count the tokens of tokenised splits."""
    train = samples[TRAIN]
    share = sum(train.answer_tokens) / sum(train.lengths)
    work = train.work(shape.head_share(params))
    return _data(train.lengths, share, train.changed, sum(samples[DEV].lengths), params, machine, work)


def _guess(conversation: Conversation) -> int:
    return 12 + round(TOKENS_PER_CHARACTER * sum(len(message.content) for message in conversation.conversations))


def _data(
    lengths: list[int], share: float, cut: int, dev: int, params: TrainParams, machine: Machine, work: list[float] | None
) -> Data:
    steps = plan_steps(lengths, params.batch, params.epochs, params.seed)
    laid = lay_out(steps, lengths, machine.world, params.pack_tokens, work)
    trained = sum(lengths[index] for step in steps for index in step)
    longest = max(sum(lengths[index] for index in row) for step in laid for row in step)
    return Data(len(lengths), sum(lengths), share, cut, dev, len(steps), trained, len(laid[0]), longest, work is not None)


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


@dataclass(frozen=True)
class Pace:
    """How fast a training runs: tokens/s of all processes together, seconds around its steps, and how that is known."""

    tokens_per_s: float
    start_s: float
    source: str

    def seconds(self, data: Data, checks: int) -> float:
        """Of the whole training; a token of the dev split, which has no backward pass, takes half as long as a trained one."""
        return self.start_s + (data.trained_tokens + data.dev_tokens * (checks + 1) / 2) / self.tokens_per_s


def estimate(shape: Shape, params: TrainParams, machine: Machine, data: Data) -> Pace:
    """The pace that this machine's matrix products allow."""
    work = shape.flops(params, data.answer_share, data.tokens / data.samples)
    if params.quantise == "int8":
        int8_work = INT8_WORK * (1 if machine.precision == "bf16" else FP32_TO_BF16)
        work -= (1 - int8_work) * shape.linear_flops(params)
    source = f"at {EFFICIENCY:.0%} of this machine's matrix peak; --calibrate measures it"
    return Pace(matrix_peak(machine) * EFFICIENCY / work, START, source)


def calibrate(
    params: TrainParams, machine: Machine, samples: dict[str, Samples], pad_id: int, base: Path = BASE
) -> tuple[Pace, float]:
    """Run two real steps. Returns the pace of the second, and the peak GB of a process."""
    per_epoch = max(1, round(len(samples[TRAIN]) / params.batch))
    short = params.model_copy(update={"epochs": 2 / per_epoch, "checks": 1})
    lengths = samples[TRAIN].lengths
    tokens = [sum(lengths[index] for index in step) for step in plan_steps(lengths, params.batch, short.epochs, params.seed)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples[TRAIN].save(folder / TRAIN)
        samples[DEV].first(min(machine.world, len(samples[DEV]))).save(folder / DEV)
        started = time.monotonic()
        launch(Job(params=short, machine=machine, base=base.resolve(), folder=folder, pad_id=pad_id), lambda *_: None)
        wall = time.monotonic() - started
        rows = [row for row in read_log(folder / LOG) if "tokens_per_s" in row]
    steps = sum(count / row["tokens_per_s"] for count, row in zip(tokens, rows, strict=True))
    pace = Pace(rows[-1]["tokens_per_s"], max(0.0, wall - steps), "measured in two steps")
    return pace, max(row["memory_gb"] for row in rows)


def report(params: Params, *, measured: bool) -> str:
    """The whole plan as text."""
    train = params.train
    machine = detect(train.precision, train.batch)
    train = settled(train, machine)
    here, shape = base_is_here(params.base), base_shape(params.base)
    if here:
        refuse_unfit(train, BASE)
    data, samples = read_data(train, machine, shape, exact=here)
    wide = machine.precision == "fp32"
    need = memory(shape, train, machine.device, machine.world, machine.processes, wide, data.longest)
    said = f"{need.total:.1f} GB a process: {_parts(need)}"
    if measured:
        if samples is None:
            raise UserError(Problem(str(BASE), "missing", "a base to run two steps with", "dvc repro base"))
        pace, peak = calibrate(train, machine, samples, Prompt.from_base(BASE, train.system).pad_id)
        said = f"{peak:.1f} GB a process, measured in two steps (planned: {said})"
    else:
        pace = estimate(shape, train, machine, data)
    seconds = pace.seconds(data, train.checks)
    trained = shape.trainable(train)
    disk = checkpoint_bytes(shape, train) * (KEPT + 1) + (shape.in_int8 if train.quantise == "int8" else 0)
    about = "" if data.exact else "about "
    lines = [
        f"data       {data.samples} samples, {about}{data.tokens} tokens ({data.answer_share:.0%} learned), "
        f"{data.cut} shortened or dropped at max_length {train.max_length} ({data.cut / data.samples:.1%})",
        f"run        {data.steps} steps of {train.batch} conversations in {train.epochs:g} epochs, "
        f"{number_forms(train, machine)}, {data.micro_batches} micro-batch(es) a step "
        f"on {machine.world} process(es) x {machine.threads} thread(s)",
        f"model      {shape.name}: {shape.parameters / 1e9:.2f} billion parameters, "
        f"{trained:,} trainable ({trained / shape.parameters:.2%})",
        f"memory     {said}",
        f"disk       {disk / GB:.2f} GB while it runs, {trained * 2 / GB:.3f} GB adapter",
        f"time       {duration(seconds)} at {pace.tokens_per_s:,.0f} tokens/s ({pace.source})",
        f"verdict    {verdict(shape, train, machine, available_gb(machine), data.longest)}",
        "",
        *zero_table(shape, train, machine.world),
        "",
        *public_table(train, data.answer_share, data.tokens / data.samples),
    ]
    return "\n".join(lines)


def _parts(need: Memory) -> str:
    names = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "runtime")
    return ", ".join(f"{name} {getattr(need, name):.2f}" for name in names)


def main(arguments: list[str]) -> None:
    """Print the plan for the project in the working directory."""
    parser = argparse.ArgumentParser(prog="python -m legalqa.training.plan", description=__doc__)
    parser.add_argument("--calibrate", action="store_true", help="run two real steps and correct the estimate")
    chosen = parser.parse_args(arguments)
    print(report(load_params(), measured=chosen.calibrate))


if __name__ == "__main__":
    with stage("plan"):
        main(sys.argv[1:])
