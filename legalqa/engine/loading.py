"""A base folder and, if wanted, an adapter -> one causal language model ready to answer.

The adapter is merged in float32 and the merged weight is rounded once to the form that is kept. (Merging into bf16 weights
would round much of the small LoRA product away; an unmerged adapter costs two more products a layer at each step.)
"""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from legalqa.engine.quantised import Int8Linear
from legalqa.problems import Problem, UserError

Weights = Literal["int8", "bf16", "fp32"]


def load_model(base: Path, adapter: Path | None, weights: Weights) -> Any:
    """The model in eval mode, adapter merged, weights in the asked form. Raises UserError when the folders can't be loaded."""
    if not (base / "config.json").is_file():
        raise UserError(Problem(str(base), "no model there", "a folder with config.json", "dvc repro base"))
    kept = torch.bfloat16 if weights == "bf16" else torch.float32
    if adapter is None:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=kept, local_files_only=True)
    else:
        from legalqa.training.lora import load_adapted

        model = load_adapted(base, adapter).float().merge_and_unload().to(kept)
    if weights == "int8":
        _quantise(model)
    return model.eval().requires_grad_(False)


def _quantise(model: Any) -> None:
    """Every linear layer to int8, the head included; the table of embeddings, read one row a token, to bf16."""
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Linear):
                setattr(parent, name, Int8Linear(layer.weight, layer.bias))
    table = model.get_input_embeddings()
    table.bfloat16()
    table.register_forward_hook(lambda _module, _inputs, rows: rows.float())
