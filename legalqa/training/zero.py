"""DeepSpeed's settings: conf/deepspeed/zero1.json, zero2.json, zero3.json, with what a training adds to them."""

import json
from pathlib import Path
from typing import Any

from legalqa.files import read_json
from legalqa.params import TrainParams
from legalqa.problems import Problem, UserError
from legalqa.training.machine import Machine

FILES = Path(__file__).resolve().parents[2] / "conf" / "deepspeed"
KEYS = {  # what params.yaml decides, so that the file must leave it open
    "train_batch_size": "train.batch",
    "train_micro_batch_size_per_gpu": "train.pack_tokens",
    "gradient_accumulation_steps": "train.batch and train.pack_tokens",
    "gradient_clipping": "train.max_grad_norm",
}
PLACES = {"none": [], "optimizer": ["offload_optimizer"], "parameters": ["offload_optimizer", "offload_param"]}


def settings(params: TrainParams, machine: Machine) -> dict[str, Any]:
    """The file of the ZeRO stage, ready for the Trainer. Raises UserError with all that contradicts params.yaml."""
    path = FILES / f"zero{params.zero}.json"
    try:
        config: dict[str, Any] = read_json(path)
    except FileNotFoundError:
        raise UserError(Problem(str(path), "missing", fix="git checkout conf/deepspeed")) from None
    except json.JSONDecodeError as error:
        raise UserError(Problem(str(path), f"not JSON: {error}")) from None
    problems = [
        Problem(f"{path}: {key}", repr(config[key]), f'"auto": {decider} of params.yaml decides', f'write "{key}": "auto"')
        for key, decider in KEYS.items()
        if config.get(key, "auto") != "auto"
    ]
    zero = config.get("zero_optimization", {})
    if zero.get("stage") != params.zero:
        problems.append(Problem(f"{path}: zero_optimization.stage", repr(zero.get("stage")), f"{params.zero} (train.zero)"))
    if "optimizer" in config or "scheduler" in config:
        problems.append(Problem(str(path), "an optimizer or scheduler", "none: train.learning_rate and train.schedule decide"))
    if config.get("fp16", {}).get("enabled"):
        problems.append(Problem(f"{path}: fp16", "enabled", "bf16 or fp32: train.precision decides"))
    if problems:
        raise UserError(problems, "DeepSpeed's settings contradict params.yaml")
    if machine.precision == "fp32":
        config.pop("data_types", None)
    for place in PLACES[params.offload]:
        zero[place] = {"device": "cpu", "pin_memory": machine.device == "cuda"}
    return config
