"""Which settings of a training fit which devices, and which knob makes them fit."""

from legalqa.params import TrainParams
from legalqa.training.machine import Machine, multiplies_int8
from legalqa.training.shapes import PUBLIC, Shape, memory, passes

SPARE = 0.95  # share of a device's memory that may be planned for
GPU_PEAK = 312e12  # bf16 FLOP/s of an A100 with 80 GB
GPU_GB, GPU_EFFICIENCY = 80.0, 0.4
GPUS_A_HOST = 8
NVLINK, NETWORK, PCIE = 250e9, 25e9, 25e9  # bytes/s of a GPU: to others in its host, to other hosts, to its host's memory
MOST_TOKENS = 4096  # of a GPU's micro-batch: from some 2,000 on more of them gain nothing


def knobs(params: TrainParams, processes: int, device: str) -> list[tuple[str, TrainParams]]:
    """Settings that need less and less memory, the cheapest first."""
    small = params.model_copy(update={"pack_tokens": params.max_length})
    check = small.model_copy(update={"gradient_checkpointing": True})
    ladder = [("as it is", params)]
    if small != params:
        ladder.append((f"pack_tokens: {params.max_length}", small))
    if multiplies_int8(device) and params.zero < 3 and not params.lora.dora:
        for name, tried in (("quantise: int8", small), ("quantise: int8, gradient_checkpointing: true", check)):
            ladder.append((name, tried.model_copy(update={"quantise": "int8"})))
        return ladder
    if check != small:
        ladder.append(("gradient_checkpointing: true", check))
    if processes > 1 and params.quantise == "none":
        ladder.append(("zero: 3", check.model_copy(update={"zero": 3})))
    if device == "cuda":  # a CPU's 4-bit weights keep the file they are made from, and there is nowhere else to put them
        ladder.append(("quantise: nf4", check.model_copy(update={"quantise": "nf4", "zero": 2, "offload": "none"})))
        offload = {"zero": 3, "offload": "parameters", "quantise": "none"}
        ladder.append(("zero: 3, offload: parameters", check.model_copy(update=offload)))
    return ladder


def _without_int8(params: TrainParams) -> TrainParams:
    """The same training for GPUs, which multiply no int8 here."""
    return params.model_copy(update={"quantise": "none"}) if params.quantise == "int8" else params


def verdict(shape: Shape, params: TrainParams, machine: Machine, available: float, longest: int) -> str:
    """Fits, or the first knob with which it does. ``available`` GB a process; ``longest`` tokens of a micro-batch."""
    wide = machine.precision == "fp32"
    for name, tried in knobs(params, machine.world, machine.device):
        tokens = min(longest, tried.pack_tokens)
        need = memory(shape, tried, machine.device, machine.world, machine.processes, wide, tokens).total
        if need <= available * SPARE:
            if tried is params:
                return f"fits ({available:.1f} GB a process are free)"
            return f"does not fit {available:.1f} GB a process; it would with {name} ({need:.1f} GB)"
    return f"does not fit {available:.1f} GB a process with any setting; use a smaller base or more devices"


def zero_table(shape: Shape, params: TrainParams, devices: int) -> list[str]:
    """GB a GPU for each ZeRO stage, and of its host with offload."""
    lines = [f"{shape.name} on {devices} GPU(s), micro-batches of {params.pack_tokens} tokens: GB a GPU + GB of a host"]
    for stage_number, offload in ((1, "none"), (2, "none"), (2, "optimizer"), (3, "none"), (3, "parameters")):
        tried = _without_int8(params).model_copy(update={"zero": stage_number, "offload": offload})
        need = memory(shape, tried, "cuda", devices, min(devices, GPUS_A_HOST), wide=False, tokens=params.pack_tokens)
        lines.append(f"  ZeRO-{stage_number}, offload {offload:10}  {need.total:6.2f}  + {need.host:.2f}")
    return lines


def public_table(params: TrainParams, answer_share: float, sample_tokens: float) -> list[str]:
    """The first setting that fits GPUs of 80 GB with the largest micro-batch that does, its memory and time."""
    lines = [
        f"on GPUs of {GPU_GB:.0f} GB, {GPUS_A_HOST} a host, from data sheets: tokens of a micro-batch, "
        "conversations a step that fill it on all GPUs,",
        f"memory of a GPU, time for a million tokens\n{'GPUs':>8}  {'setting':28}  tokens  conv.   memory  time",
    ]
    for name in ("ChatGLM3-6B", "Llama-2-7B", "Qwen2.5-32B", "GLM-130B"):
        shape = PUBLIC[name]
        lines.append(f"  {name}, {shape.parameters / 1e9:.1f} billion parameters")
        for gpus in (1, 2, 4, 8, 16, 32, 64):
            lines.append(f"{gpus:8}  {_on_gpus(shape, params, gpus, answer_share, sample_tokens)}")
    return lines


def _on_gpus(shape: Shape, params: TrainParams, gpus: int, answer_share: float, sample_tokens: float) -> str:
    lora = params.lora.model_copy(update={"targets": "all-linear"})  # names differ between models
    asked = _without_int8(params).model_copy(update={"lora": lora, "pack_tokens": params.max_length})
    for name, knob in knobs(asked, gpus, "cuda"):
        fitting = None
        tokens = params.max_length
        while tokens <= max(MOST_TOKENS, params.max_length):
            tried = knob.model_copy(update={"pack_tokens": tokens})
            need = memory(shape, tried, "cuda", gpus, min(gpus, GPUS_A_HOST), wide=False, tokens=tokens)
            if need.total > GPU_GB * SPARE:
                break
            fitting, tokens = (tried, need), tokens * 2
        if fitting:
            tried, need = fitting
            seconds = _seconds(shape, tried, gpus, answer_share, sample_tokens) * 1e6 / (tried.pack_tokens * gpus)
            host = f"; {need.host:.0f} GB of each host" if need.host >= 1 else ""
            fill = round(tried.pack_tokens * gpus / sample_tokens)
            return f"{name:28}  {tried.pack_tokens:6} {fill:6}  {need.total:5.1f} GB  {duration(seconds)}{host}"
    return "does not fit"


def _seconds(shape: Shape, params: TrainParams, gpus: int, answer_share: float, sample_tokens: float) -> float:
    """A micro-batch: its work, or where that takes longer, the way of the weights that ZeRO-3 gathers in each pass."""
    work = shape.flops(params, answer_share, sample_tokens) * params.pack_tokens / (GPU_PEAK * GPU_EFFICIENCY)
    if params.zero < 3:
        return work
    weights = shape.parameters * 2 * passes(params)
    way = weights / (NVLINK if gpus <= GPUS_A_HOST else NETWORK) if gpus > 1 else 0.0
    if params.offload == "parameters":
        way += weights / gpus / PCIE
    return max(work, way)


def duration(seconds: float) -> str:
    """In the unit that a person would use."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
