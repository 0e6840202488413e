"""Tiny random models of each family that legalqa knows, saved as their makers save theirs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import (
    AutoModelForCausalLM,
    Glm4Config,
    GlmConfig,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from legalqa.files import write_json
from tests.tiny import COMMON, tiny_tokenizer

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
}
LLAMA2_CHAT = "{{ bos_token }}[INST] <<SYS>> ..."  # what the real one is recognised by


@dataclass(frozen=True)
class Family:
    """Its config class, special tokens (the first pads, the last ends) and what its tokenizer_config.json says."""

    config: type[PretrainedConfig]
    special_tokens: tuple[str, ...]
    chat_template: str = ""
    added: tuple[str, ...] = ()
    sentencepiece: bool = False


QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
QWEN_ADDED = ("<think>", "</think>", "<tool_call>")  # not flagged as special by their makers
GLM = ("<|endoftext|>", "[MASK]", "[gMASK]", "<sop>", "<|system|>", "<|assistant|>", "<|observation|>", "<|user|>")
LLAMA3 = ("<|end_of_text|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
FAMILIES = {
    "qwen2": Family(Qwen2Config, QWEN, added=QWEN_ADDED),
    "qwen3": Family(Qwen3Config, QWEN, "{% if enable_thinking is false %}", added=QWEN_ADDED),
    "llama2": Family(LlamaConfig, ("<unk>", "<s>", "</s>"), LLAMA2_CHAT, sentencepiece=True),
    "llama3": Family(LlamaConfig, LLAMA3),
    "glm4": Family(GlmConfig, GLM),
    "glm4-0414": Family(Glm4Config, GLM),
    "never-taught-to-chat": Family(LlamaConfig, ("<pad>", "<eos>")),
}


def family_model(folder: Path, name: str) -> Path:
    """Write config, weights and tokenizer of a tiny model of the family."""
    family = FAMILIES[name]
    tokenizer = _sentencepiece(family.special_tokens) if family.sentencepiece else tiny_tokenizer(family.special_tokens)
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in family.added])
    pad, end = tokenizer.token_to_id(family.special_tokens[0]), tokenizer.token_to_id(family.special_tokens[-1])
    ids = {"vocab_size": tokenizer.get_vocab_size() + 3, "pad_token_id": pad, "bos_token_id": None, "eos_token_id": end}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(family.config(**SIZES, **ids)).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    extras = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": family.special_tokens[-1],
        "pad_token": {"__type": "AddedToken", "content": family.special_tokens[0]},  # older configs write it so
        "chat_template": family.chat_template,
    }
    write_json(folder / "tokenizer_config.json", extras)
    return folder


def _sentencepiece(special_tokens: tuple[str, ...]) -> Tokenizer:
    """As Llama 2's: a blank before each text, bytes for what has no piece, special tokens among the pieces."""
    pieces = [*special_tokens, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"INSTYSy/[]<>", *COMMON]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special_tokens])
    return tokenizer
