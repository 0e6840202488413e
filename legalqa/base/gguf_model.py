"""A Qwen2 GGUF file -> a plain Hugging Face folder: config, bf16 safetensors, fast tokenizer, chat template.

transformers reads GGUF too, but a model that it loaded so can't be saved again (5.24), and with the `kernels` library
installed it keeps the weights packed. Dequantising with the format's own library has neither trouble.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tqdm import tqdm

from legalqa.files import write_json
from legalqa.problems import Problem, UserError

BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Qwen's own rule for cutting a text into words, in the syntax of `tokenizers`.
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
ROWS = 16_384  # dequantised at a time, to bound the float32 copies


def write(path: Path, folder: Path) -> None:
    """Fill ``folder`` from the GGUF file at ``path``. Raises UserError when it is not a Qwen2 model."""
    reader = gguf.GGUFReader(path)
    fields: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
    architecture = (fields.get("general.architecture"), fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre"))
    if architecture != ("qwen2", "gpt2", "qwen2"):
        raise UserError(Problem(str(path), f"architecture and tokenizer {architecture}", "a Qwen2 GGUF file"))
    folder.mkdir(parents=True, exist_ok=True)
    weights = _weights(reader.tensors)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # written for its owner alone
    write_json(folder / "config.json", _config(fields, tied="lm_head.weight" not in weights))
    write_json(folder / "generation_config.json", _generation(fields))
    _tokenizer(fields).save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", _tokenizer_config(fields))


def _weights(tensors: Iterable[gguf.ReaderTensor]) -> dict[str, torch.Tensor]:
    """All tensors in bf16 by their Hugging Face names.

    The file stores the tied embedding twice, with 5 bits as ``token_embd`` and with 8 as ``output``: the finer one stays.
    """
    by_name = {tensor.name: tensor for tensor in tensors}
    if "output.weight" in by_name:
        by_name["token_embd.weight"] = by_name.pop("output.weight")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        dequantised = pool.map(_dequantised, by_name.values())
        bar = tqdm(zip(by_name, dequantised, strict=True), desc="dequantise", total=len(by_name), unit="tensor")
        return {_name(name): weight for name, weight in bar}


def _dequantised(tensor: gguf.ReaderTensor) -> torch.Tensor:
    rows = [tensor.data[start : start + ROWS] for start in range(0, len(tensor.data), ROWS)]
    return torch.cat([torch.tensor(gguf.dequantize(part, tensor.tensor_type)).to(torch.bfloat16) for part in rows])


def _name(name: str) -> str:
    """``blk.3.attn_q.weight`` -> ``model.layers.3.self_attn.q_proj.weight``."""
    match name.split("."):
        case ["blk", layer, block, kind]:
            return f"model.layers.{layer}.{BLOCK[block]}.{kind}"
        case ["token_embd", kind]:
            return f"model.embed_tokens.{kind}"
        case ["output_norm", kind]:
            return f"model.norm.{kind}"
    raise UserError(Problem(name, "unknown tensor", "the tensors of a Qwen2 model"))


def _config(fields: dict[str, Any], tied: bool) -> dict[str, Any]:
    def value(key: str) -> Any:
        return fields[f"qwen2.{key}"]

    theta = _float(value("rope.freq_base"))
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "hidden_size": value("embedding_length"),
        "intermediate_size": value("feed_forward_length"),
        "num_hidden_layers": value("block_count"),
        "num_attention_heads": value("attention.head_count"),
        "num_key_value_heads": value("attention.head_count_kv"),
        "max_position_embeddings": value("context_length"),
        "rms_norm_eps": _float(value("attention.layer_norm_rms_epsilon")),
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "rope_theta": theta,  # transformers 4 reads only this one
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        "use_sliding_window": False,
        "tie_word_embeddings": tied,
        "dtype": "bfloat16",
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
    }


def _generation(fields: dict[str, Any]) -> dict[str, Any]:
    """Greedy; ends at the turn's end and at the text's end."""
    end, pad = fields["tokenizer.ggml.eos_token_id"], fields["tokenizer.ggml.padding_token_id"]
    return {"bos_token_id": pad, "do_sample": False, "eos_token_id": [end, pad], "pad_token_id": pad}


def _tokenizer(fields: dict[str, Any]) -> Tokenizer:
    """Byte-level BPE with Qwen's word rule. Padding entries of the vocabulary (type "unused") are no tokens."""
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    kinds = gguf.TokenType
    words = {token: number for number, token in enumerate(tokens) if types[number] == kinds.NORMAL}
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(WORDS), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    added = [
        AddedToken(token, normalized=False, special=kind == kinds.CONTROL)
        for token, kind in zip(tokens, types, strict=True)
        if kind in (kinds.CONTROL, kinds.USER_DEFINED)
    ]
    tokenizer.add_tokens(added)
    wrong = [token.content for token in added if tokenizer.token_to_id(token.content) != tokens.index(token.content)]
    if wrong:
        raise UserError(Problem("tokenizer.ggml.tokens", f"special tokens are not behind the words: {', '.join(wrong)}"))
    return tokenizer


def _tokenizer_config(fields: dict[str, Any]) -> dict[str, Any]:
    tokens = fields["tokenizer.ggml.tokens"]
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "add_bos_token": fields["tokenizer.ggml.add_bos_token"],
        "eos_token": tokens[fields["tokenizer.ggml.eos_token_id"]],
        "pad_token": tokens[fields["tokenizer.ggml.padding_token_id"]],
        "model_max_length": fields["qwen2.context_length"],
        "clean_up_tokenization_spaces": False,
        "chat_template": fields["tokenizer.chat_template"],
    }


def _float(value: float) -> float:
    """A float32 as the shortest decimal that means it: 9.99999997e-07 is 1e-06."""
    return float(str(np.float32(value)))
