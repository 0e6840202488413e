"""A base folder and, if wanted, an adapter -> one causal language model ready to answer.

The adapter is merged in float32 and the merged weight is rounded once to the form that is kept: merging into bf16 weights
would round much of the small LoRA product away. Beside the base, as it was trained, it is rounded by itself, and costs two
more products a layer at each step.
"""

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM

from legalqa.engine.quantised import quantise
from legalqa.problems import Problem, UserError

Weights = Literal["int8", "bf16", "fp32"]


def load_model(base: Path, adapter: Path | None, weights: Weights, merged: bool = True) -> Any:
    """The model in eval mode, weights in the asked form, the adapter merged or beside the base.

    Raises UserError when the folders can't be loaded, and for DoRA beside int8 weights, whose lengths it would need.
    """
    if not (base / "config.json").is_file():
        raise UserError(Problem(str(base), "no model there", "a folder with config.json", "dvc repro base"))
    kept = torch.bfloat16 if weights == "bf16" else torch.float32
    if adapter is None:
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto" if weights == "int8" else kept, local_files_only=True)
    else:
        from legalqa.training.lora import load_adapted

        adapted = load_adapted(base, adapter)
        if weights == "int8":
            if not merged and adapted.active_peft_config.use_dora:
                raise UserError(Problem(str(adapter), "DoRA beside int8 weights", "merged, or bf16 or fp32 weights"))
            model = adapted.get_base_model()
        else:
            model = adapted.float().merge_and_unload() if merged else adapted.get_base_model()
            for parameter in model.parameters():  # no buffers: rotary frequencies stay in float32, as without an adapter
                parameter.data = parameter.data.to(kept)
    if weights == "int8":
        quantise(model, merged)
        table = model.get_input_embeddings()
        for parameter in model.parameters():
            if parameter is not table.weight:
                parameter.data = parameter.data.float()
        # Read one row a token: bf16 costs nothing there. A copy: what comes from the file keeps all of it in memory.
        table.weight.data = table.weight.data.to(torch.bfloat16, copy=True)
        table.register_forward_hook(lambda _module, _inputs, rows: rows.float())
    return model.eval().requires_grad_(False)
