"""ChatGLM3's original checkpoint layout -> native GlmForCausalLM with a fast tokenizer, so that nobody runs its old code.

The layout is documented by the checkpoint's own configuration and weight names. It maps onto GLM one to one: same rotary
pairs, same order of gate and up, so no weight is permuted; only the fused query-key-value matrix is split.
"""

from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from legalqa.base import chatglm3_tokenizer, space
from legalqa.files import read_json, write_json
from legalqa.problems import Problem, UserError

ENDS = ("</s>", "<|user|>", "<|observation|>")  # tokens at which an answer is over
OUTSIDE = {
    "transformer.embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "transformer.encoder.final_layernorm.weight": "model.norm.weight",
    "transformer.output_layer.weight": "lm_head.weight",
}
IN_LAYER = {
    "input_layernorm": "input_layernorm",
    "self_attention.dense": "self_attn.o_proj",
    "post_attention_layernorm": "post_attention_layernorm",
    "mlp.dense_h_to_4h": "mlp.gate_up_proj",
    "mlp.dense_4h_to_h": "mlp.down_proj",
}
SIZES = (
    *("padded_vocab_size", "hidden_size", "ffn_hidden_size", "num_layers", "num_attention_heads"),
    *("multi_query_group_num", "kv_channels", "seq_length", "layernorm_epsilon", "add_qkv_bias"),
)
# What the conversion takes for granted; the 6B, its base and its long-context versions are all like this.
FIXED = {
    "add_bias_linear": False,
    "apply_residual_connection_post_layernorm": False,
    "multi_query_attention": True,
    "post_layer_norm": True,
    "pre_seq_len": 0,
    "quantization_bit": 0,
    "rmsnorm": True,
}


def write(source: Path, folder: Path) -> None:
    """Fill ``folder`` from an original ChatGLM3 checkpoint. Raises UserError with everything that is wrong with it."""
    config = read_json(source / "config.json")
    shards = _shards(source)
    _check(source, config, shards)
    space.need(folder, sum(path.stat().st_size for path in shards))
    tokenizer = chatglm3_tokenizer.write(source / "tokenizer.model", folder)
    dtype = write_weights(shards, folder, config)
    ids = {"bos_token_id": 1, "eos_token_id": [tokenizer.token_to_id(token) for token in ENDS], "pad_token_id": 0}
    write_json(folder / "generation_config.json", ids | {"do_sample": False})
    write_json(folder / "config.json", native_config(config) | ids | {"dtype": str(dtype).removeprefix("torch.")})


def native_config(config: dict[str, Any]) -> dict[str, Any]:
    """The original's sizes under GLM's names."""
    theta = 10_000.0 * config.get("rope_ratio", 1)
    return {
        "architectures": ["GlmForCausalLM"],
        "model_type": "glm",
        "vocab_size": config["padded_vocab_size"],
        "hidden_size": config["hidden_size"],
        "intermediate_size": config["ffn_hidden_size"],
        "num_hidden_layers": config["num_layers"],
        "num_attention_heads": config["num_attention_heads"],
        "num_key_value_heads": config["multi_query_group_num"],
        "head_dim": config["kv_channels"],  # not hidden_size / heads
        "max_position_embeddings": config["seq_length"],
        "rms_norm_eps": config["layernorm_epsilon"],  # GLM's own default is another one
        "attention_bias": config["add_qkv_bias"],
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta, "partial_rotary_factor": 0.5},
    }


def write_weights(shards: list[Path], folder: Path, config: dict[str, Any]) -> torch.dtype:
    """One safetensors file for each of the original's, so that no more than one of them is in memory; their type."""
    dtype = torch.float16
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(tqdm(shards, desc="convert", unit="file"), start=1):
        name = "model.safetensors" if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        weights = dict(pair for key, tensor in _tensors(shard) for pair in native_weights(key, tensor, config))
        dtype = next(iter(weights.values())).dtype
        save_file(weights, folder / name, metadata={"format": "pt"})
        (folder / name).chmod(0o644)  # written for its owner alone
        weight_map |= dict.fromkeys(weights, name)
    if len(shards) > 1:
        write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    return dtype


def native_weights(name: str, tensor: torch.Tensor, config: dict[str, Any]) -> list[tuple[str, torch.Tensor]]:
    """One original tensor as GLM's: renamed; query, key and value apart; the table of rotary frequencies left out."""
    if name in OUTSIDE:
        return [(OUTSIDE[name], tensor)]
    match name.split("."):
        case ["transformer", "rotary_pos_emb", "inv_freq"]:
            return []
        case ["transformer", "encoder", "layers", layer, "self_attention", "query_key_value", kind]:
            width = config["kv_channels"]
            heads, groups = config["num_attention_heads"] * width, config["multi_query_group_num"] * width
            parts = torch.split(tensor, [heads, groups, groups])
            return [
                (f"model.layers.{layer}.self_attn.{part}_proj.{kind}", rows.clone())
                for part, rows in zip("qkv", parts, strict=True)
            ]
        case ["transformer", "encoder", "layers", layer, *block, kind] if ".".join(block) in IN_LAYER:
            return [(f"model.layers.{layer}.{IN_LAYER['.'.join(block)]}.{kind}", tensor)]
    raise UserError(Problem(name, "unknown weight", "the weights of an original ChatGLM3 checkpoint"))


def _check(source: Path, config: dict[str, Any], shards: list[Path]) -> None:
    where = str(source / "config.json")
    fix = "take the original checkpoint, neither quantised nor tuned"
    problems = [Problem(f"{where}: {key}", "missing", "a ChatGLM3 configuration") for key in SIZES if key not in config]
    problems += [
        Problem(f"{where}: {key}", f"{config[key]}", f"{value}", fix)
        for key, value in FIXED.items()
        if config.get(key) not in (None, value)
    ]
    problems += [Problem(str(path), "missing", "it, as the checkpoint's index says") for path in shards if not path.exists()]
    if not (source / "tokenizer.model").exists():
        problems.append(Problem(str(source / "tokenizer.model"), "missing", "the checkpoint's SentencePiece model"))
    if problems:
        raise UserError(problems, f"{source} can't be converted to a plain GLM")


def _shards(source: Path) -> list[Path]:
    """The weight files: safetensors where there are any, else ``.bin``."""
    for stem, end in (("model", "safetensors"), ("pytorch_model", "bin")):
        index = source / f"{stem}.{end}.index.json"
        if index.exists():
            return [source / name for name in sorted(set(read_json(index)["weight_map"].values()))]
        if (source / f"{stem}.{end}").exists():
            return [source / f"{stem}.{end}"]
    raise UserError(Problem(str(source), "no weights", "model.safetensors or pytorch_model.bin, or their index"))


def _tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors of a file. A pickle is read by a reader that knows tensors and refuses everything else."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as stream:
                for name in stream.keys():  # noqa: SIM118 (no dictionary)
                    yield name, stream.get_tensor(name)
        else:
            yield from torch.load(path, map_location="cpu", mmap=True, weights_only=True).items()
    except (SafetensorError, UnpicklingError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(Problem(str(path), f"can't be read as weights ({reason})", fix="download it again")) from None
