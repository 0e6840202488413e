"""ChatGLM3's original layout at a tiny size: checkpoint, SentencePiece model, and what the model computes.

The forward pass is written anew from the public description of the architecture: RMS norm before each block, one fused
matrix for query, key and value with fewer key-value groups than heads, rotary positions on the first half of each head in
neighbouring pairs, SwiGLU with the gate in the first half, an output matrix of its own.
"""

import itertools
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers.utils import sentencepiece_model_pb2_new as sentencepiece

from legalqa.files import write_json
from tests.tiny import COMMON

WORDS = (
    "离婚",
    "合同",
    "劳动",
    "赔偿",
    "法律",
    "▁the",
    "the",
    "he",
    "▁t",
    "th",
    "peo",
    "ple",
    "people",
    "le",
    "eo",
    "op",
    "pl",
    "▁▁",
)
HEADS, GROUPS, WIDTH, HIDDEN, FFN, LAYERS, EPSILON = 4, 2, 8, 12, 20, 2, 1e-5

Weights = dict[str, torch.Tensor]


def sentencepiece_model() -> Any:
    """A BPE model: bytes, single characters, a few words; earlier pieces score higher, as after a training."""
    model = sentencepiece.ModelProto()
    piece = sentencepiece.ModelProto.SentencePiece
    kinds = [("<unk>", piece.UNKNOWN), ("<s>", piece.CONTROL), ("</s>", piece.CONTROL)]
    kinds += [(f"<0x{byte:02X}>", piece.BYTE) for byte in range(256)]
    letters = "▁" + "".join(chr(code) for code in range(33, 127))
    kinds += [(text, piece.NORMAL) for text in (*letters, *COMMON, *WORDS)]
    for number, (text, kind) in enumerate(kinds):
        model.pieces.add(piece=text, score=-float(number) if kind == piece.NORMAL else 0.0, type=kind)
    model.trainer_spec.model_type = model.trainer_spec.BPE
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    return model


def sentencepiece_ids(model: Any, text: str) -> list[int]:
    """What SentencePiece does, plainly: join the two neighbours whose joint piece scores highest, until none is left."""
    scores = {piece.piece: piece.score for piece in model.pieces if piece.type == piece.NORMAL}
    numbers = {piece.piece: number for number, piece in enumerate(model.pieces)}
    parts = list("▁" + text.replace(" ", "▁")) if text else []
    while True:
        pairs = [(scores[a + b], -at) for at, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in scores]
        if not pairs:
            break
        at = -max(pairs)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    ids = []
    for part in parts:
        ids += [numbers[part]] if part in scores else [numbers[f"<0x{byte:02X}>"] for byte in part.encode("utf-8")]
    return ids


def original_config(vocabulary: int) -> dict[str, Any]:
    return {
        "model_type": "chatglm",
        "auto_map": {"AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration"},
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "apply_residual_connection_post_layernorm": False,
        "ffn_hidden_size": FFN,
        "hidden_size": HIDDEN,
        "kv_channels": WIDTH,
        "layernorm_epsilon": EPSILON,
        "multi_query_attention": True,
        "multi_query_group_num": GROUPS,
        "num_attention_heads": HEADS,
        "num_layers": LAYERS,
        "padded_vocab_size": vocabulary,
        "post_layer_norm": True,
        "rmsnorm": True,
        "seq_length": 64,
        "torch_dtype": "float16",
    }


def original_weights(vocabulary: int) -> Weights:
    generator = torch.Generator().manual_seed(0)
    qkv = (HEADS + 2 * GROUPS) * WIDTH
    shapes: dict[str, tuple[int, ...]] = {"transformer.embedding.word_embeddings.weight": (vocabulary, HIDDEN)}
    for layer in range(LAYERS):
        at = f"transformer.encoder.layers.{layer}"
        shapes[f"{at}.input_layernorm.weight"] = (HIDDEN,)
        shapes[f"{at}.self_attention.query_key_value.weight"] = (qkv, HIDDEN)
        shapes[f"{at}.self_attention.query_key_value.bias"] = (qkv,)
        shapes[f"{at}.self_attention.dense.weight"] = (HIDDEN, HEADS * WIDTH)
        shapes[f"{at}.post_attention_layernorm.weight"] = (HIDDEN,)
        shapes[f"{at}.mlp.dense_h_to_4h.weight"] = (2 * FFN, HIDDEN)
        shapes[f"{at}.mlp.dense_4h_to_h.weight"] = (HIDDEN, FFN)
    shapes["transformer.encoder.final_layernorm.weight"] = (HIDDEN,)
    shapes["transformer.output_layer.weight"] = (vocabulary, HIDDEN)
    weights = {name: torch.randn(shape, generator=generator).half() / 3 for name, shape in shapes.items()}
    weights["transformer.rotary_pos_emb.inv_freq"] = (1 / 10_000 ** (torch.arange(0, WIDTH // 2, 2) / (WIDTH // 2))).half()
    return weights


def original_chatglm3(folder: Path, kind: str = "safetensors", shards: int = 1) -> Path:
    """Write the checkpoint; the second of two shards begins in the middle of a layer."""
    model = sentencepiece_model()
    vocabulary = len(model.pieces) + 12  # nine special tokens, three unused rows
    folder.mkdir(parents=True)
    write_json(folder / "config.json", original_config(vocabulary))
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    weights = original_weights(vocabulary)
    names, half = list(weights), 5
    stem, end = ("model", "safetensors") if kind == "safetensors" else ("pytorch_model", "bin")
    parts = [names] if shards == 1 else [names[:half], names[half:]]
    weight_map = {}
    for number, part in enumerate(parts, start=1):
        name = f"{stem}.{end}" if shards == 1 else f"{stem}-{number:05d}-of-{shards:05d}.{end}"
        chosen = {key: weights[key] for key in part}
        if kind == "safetensors":
            save_file(chosen, folder / name)
        else:
            torch.save(chosen, folder / name)
        weight_map |= dict.fromkeys(part, name)
    if shards > 1:
        write_json(folder / f"{stem}.{end}.index.json", {"metadata": {}, "weight_map": weight_map})
    return folder


def original_logits(weights: Weights, ids: list[int], rope_ratio: float = 1) -> torch.Tensor:
    """Logits [length, vocabulary] in fp32."""
    full = {name: tensor.float() for name, tensor in weights.items()}
    states = full["transformer.embedding.word_embeddings.weight"][torch.tensor(ids)]
    for layer in range(LAYERS):
        own = {k.split(f"layers.{layer}.")[1]: v for k, v in full.items() if f"layers.{layer}." in k}
        states = states + _attention(own, _norm(states, own["input_layernorm.weight"]), rope_ratio)
        wide = _norm(states, own["post_attention_layernorm.weight"]) @ own["mlp.dense_h_to_4h.weight"].T
        gate, up = wide.chunk(2, dim=-1)
        states = states + (torch.nn.functional.silu(gate) * up) @ own["mlp.dense_4h_to_h.weight"].T
    return _norm(states, full["transformer.encoder.final_layernorm.weight"]) @ full["transformer.output_layer.weight"].T


def _norm(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + EPSILON) * weight


def _attention(own: Weights, states: torch.Tensor, rope_ratio: float) -> torch.Tensor:
    length = len(states)
    fused = states @ own["self_attention.query_key_value.weight"].T + own["self_attention.query_key_value.bias"]
    query, key, value = fused.split([HEADS * WIDTH, GROUPS * WIDTH, GROUPS * WIDTH], dim=-1)
    query = _rotated(query.view(length, HEADS, WIDTH), rope_ratio)
    key = _rotated(key.view(length, GROUPS, WIDTH), rope_ratio).repeat_interleave(HEADS // GROUPS, dim=1)
    value = value.view(length, GROUPS, WIDTH).repeat_interleave(HEADS // GROUPS, dim=1)
    scores = torch.einsum("qhd,khd->hqk", query, key) / WIDTH**0.5
    scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), float("-inf"))
    mixed = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value).reshape(length, HEADS * WIDTH)
    return mixed @ own["self_attention.dense.weight"].T


def _rotated(heads: torch.Tensor, rope_ratio: float) -> torch.Tensor:
    """Turn the pairs (0, 1), (2, 3), ... of the first half of each head by position x frequency."""
    half = WIDTH // 2
    frequencies = 1 / (10_000 * rope_ratio) ** (torch.arange(0, half, 2) / half)
    angles = torch.outer(torch.arange(len(heads)).float(), frequencies)[:, None]
    even, odd = heads[..., 0:half:2], heads[..., 1:half:2]
    turned = torch.stack([even * angles.cos() - odd * angles.sin(), odd * angles.cos() + even * angles.sin()], dim=-1)
    return torch.cat([turned.flatten(-2), heads[..., half:]], dim=-1)
