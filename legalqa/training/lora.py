"""LoRA adapters: attached to a base, checked after each save, loaded again for scoring and serving."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from legalqa.base.identity import Identity
from legalqa.files import read_json
from legalqa.params import LoraParams
from legalqa.problems import Problem, UserError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def attach(model: "PreTrainedModel", params: LoraParams) -> "PeftModel":
    """The base with new LoRA layers, the only ones that train; same dtype as the base.

    Raises UserError when a named target is not in the model, with the names that are, or can't be adapted.
    """
    from peft import LoraConfig, get_peft_model

    targets = params.targets
    if targets != "all-linear":
        known = linear_names(model)
        missing = [name for name in targets if name not in known]
        if missing:
            raise UserError(
                Problem(
                    "train.lora.targets", f"{', '.join(missing)} not in {type(model).__name__}", f"some of {', '.join(known)}"
                )
            )
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=params.r,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        target_modules=targets if targets == "all-linear" else list(targets),
        use_rslora=params.rslora,
        use_dora=params.dora,
        init_lora_weights=True if params.init == "default" else params.init,
    )
    try:
        adapted: PeftModel = get_peft_model(model, config, autocast_adapter_dtype=False)
    except ValueError as error:  # of layers that peft can't adapt, with their names
        raise UserError(Problem("train.lora.targets", f"{targets}: {error}", "layers that peft adapts")) from None
    if not any(parameter.requires_grad for parameter in adapted.parameters()):
        raise UserError(Problem("train.lora", "0 trainable parameters", "at least one target", "use targets: all-linear"))
    return adapted


def linear_names(model: "PreTrainedModel") -> list[str]:
    """Last parts of the names of all linear layers but the head, as `targets` takes them."""
    head = model.get_output_embeddings()
    linear = (name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head)
    return sorted({name.rpartition(".")[2] for name in linear})


def check_adapter(folder: Path | str) -> None:
    """Reopen a saved adapter. Raises UserError naming file and tensors that are empty, not finite, missing or untrained.

    LoRA's B matrices start at zero: one that is still all zero has not been trained, or not been saved.
    """
    path = Path(folder) / WEIGHTS
    again = "train again: dvc repro -f train"
    problems = [
        Problem(str(Path(folder) / name), "missing", fix=again)
        for name in (CONFIG, WEIGHTS)
        if not (Path(folder) / name).is_file()
    ]
    if problems:
        raise UserError(problems, f"{folder}: the adapter can't be used")
    try:
        settings = read_json(Path(folder) / CONFIG)
        with safe_open(path, "pt") as file:
            names = sorted(file.keys())
            if not names:
                problems.append(Problem(str(path), "no tensors", "LoRA matrices", again))
            for name in names:
                tensor = file.get_tensor(name)
                if tensor.numel() == 0:
                    problems.append(Problem(f"{path}: {name}", f"empty, shape {list(tensor.shape)}", "weights", again))
                elif not torch.isfinite(tensor).all():
                    problems.append(Problem(f"{path}: {name}", "NaN or Inf", "finite weights", again))
                elif "lora_B" in name and not tensor.any():
                    problems.append(Problem(f"{path}: {name}", "all zero: never trained", "trained weights", again))
                elif "lora_A" in name and min(tensor.shape) != settings["r"]:
                    problems.append(Problem(f"{path}: {name}", f"shape {list(tensor.shape)}", f"rank {settings['r']}", again))
            for name in names:
                twin = name.replace("lora_A", "lora_B") if "lora_A" in name else name.replace("lora_B", "lora_A")
                if twin not in names:
                    problems.append(Problem(f"{path}: {twin}", "missing", f"the twin of {name}", again))
    except (SafetensorError, json.JSONDecodeError, KeyError) as error:
        problems.append(Problem(str(folder), f"damaged adapter: {error}", fix=again))
    if problems:
        raise UserError(problems, f"{folder}: the adapter can't be used")


def load_adapted(base_folder: Path | str, adapter_folder: Path | str) -> "PeftModel":
    """Base and adapter as one model in eval mode, in the base's dtype.

    Raises UserError when the adapter is damaged, was made for another base, or does not fit it tensor by tensor.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    check_adapter(adapter_folder)
    made_for, base = read_json(Path(adapter_folder) / CONFIG)["base_model_name_or_path"], Identity.load(base_folder).name
    if made_for != base:
        found = f"made for {made_for}"
        raise UserError(Problem(str(Path(adapter_folder) / CONFIG), found, f"an adapter for {base}", "dvc repro train"))
    model = AutoModelForCausalLM.from_pretrained(base_folder, dtype="auto")
    adapted: PeftModel = PeftModel.from_pretrained(model, str(adapter_folder), autocast_adapter_dtype=False)
    with safe_open(Path(adapter_folder) / WEIGHTS, "pt") as file:
        saved = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)
    placed = {
        name: tuple(tensor.shape) for name, tensor in get_peft_model_state_dict(adapted, save_embedding_layers=False).items()
    }
    problems = [
        Problem(f"{Path(adapter_folder) / WEIGHTS}: {name}", f"{saved.get(name, 'missing')}", f"{placed.get(name, 'nothing')}")
        for name in sorted(saved.keys() | placed.keys())
        if saved.get(name) != placed.get(name)
    ]
    if problems:
        raise UserError(problems, f"{adapter_folder} does not fit {base_folder}")
    return adapted.eval()
