"""A tiny randomly initialised model as a plain checkpoint folder: everything of a base model but its size and its sense."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3_5TextConfig,
)

from legalqa.base.identity import Identity
from legalqa.files import write_json

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# One token each, as common characters are in real vocabularies; all others are three bytes.
COMMON = (
    "的一是不了在人有我他这个们中来上为和地到以时要就出会可也对生能而子着下自年过后用道行所然成方法律师赔偿合同离婚劳动公司请"
)
QWEN2_WORDS = (  # Qwen's own rule for cutting a text into words
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

OWN_ATTENTION: dict[str, dict[str, Any]] = {  # keys of `tiny_model` for models whose attention can't be exchanged
    "alibi": {"kind": BloomConfig, "n_layer": 2, "n_head": 4},
    "window": {"kind": MistralConfig, "sliding_window": 8, "head_dim": 16},
    "parallel": {"kind": FalconConfig},
    "linear": {
        "kind": Qwen3_5TextConfig,
        "head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "layer_types": ["linear_attention", "full_attention"],
    },
}


def tiny_tokenizer(special_tokens: tuple[str, ...] = SPECIAL_TOKENS) -> Tokenizer:
    """Byte-level BPE: the 256 bytes, merges for each common character, and special tokens behind them."""
    vocabulary = {byte: number for number, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
    merges: list[tuple[str, str]] = []
    for character in COMMON:
        first, second, third = as_bytes.pre_tokenize_str(character)[0][0]
        for merge in ((first, second), (first + second, third)):
            if "".join(merge) not in vocabulary:
                vocabulary["".join(merge)] = len(vocabulary)
                merges.append(merge)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN2_WORDS), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special_tokens])
    return tokenizer


def tiny_model(
    folder: Path,
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    spread: float = 0.02,
    kind: type[PretrainedConfig] = Qwen2Config,
    **keys: Any,
) -> Path:
    """Write config, weights, tokenizer, generation config and identity of a model with 2 layers of width 64.

    ``spread`` is the weights' deviation: at 0.02 the model repeats one token for ever, at 0.2 it hardly ever does. ``keys`` of
    the config come on top of its sizes.
    """
    tokenizer = tiny_tokenizer()
    pad, _, end = (tokenizer.token_to_id(token) for token in SPECIAL_TOKENS)
    config: Any = kind(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=spread,
        tie_word_embeddings=True,
        bos_token_id=pad,
        eos_token_id=end,
        pad_token_id=pad,
        dtype=dtype,
        **keys,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).to(dtype)
    model.generation_config.eos_token_id = [end, pad]
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    )
    Identity.of(folder, name="tiny", source="local").save(folder)
    return folder
