"""Decoder layers of the Llama kind with int8 weights, with a third fewer operations than transformers' own forward.

A step that writes one token does some sixty small operations a layer beside its four products, and each costs more than its
arithmetic (docs/serving.md has the figures). Here a norm is never applied: the row that it would divide becomes integers
as it is, and the division goes into what these are worth. Queries and keys turn together, and what a product is added to is
added as the product is scaled. The result differs from the modules' own in the last bits; rows still don't see each other.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu
from transformers import LlamaForCausalLM, Qwen2ForCausalLM

from legalqa.engine.attention import Plan
from legalqa.engine.quantised import Int8Linear, in_integers

KINDS = (LlamaForCausalLM, Qwen2ForCausalLM)  # whose arithmetic this is


class _Norm:
    """An RMS norm of n features with weights w, ``x w / sqrt(mean(x^2) + eps)``, whose result is wanted as integers."""

    def __init__(self, norm: Any) -> None:
        size = len(norm.weight)
        self._weight = norm.weight.detach() * size**0.5
        self._least = torch.tensor((size * norm.variance_epsilon) ** 0.5)

    def in_integers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`in_integers` of the normed rows (rows, n).

        ``x w sqrt(n)`` has the same integers, and its largest number is ``sqrt(sum(x^2) + n eps)`` times as large.
        """
        levels, largest = in_integers(x * self._weight)
        return levels, largest.div_(torch.hypot(torch.linalg.vector_norm(x, 2, 1, keepdim=True), self._least))


class _Layer:
    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._index, self._scaling = attention.layer_idx, attention.scaling
        self._width = attention.head_dim
        self._heads = attention.o_proj.in_features // self._width
        self._turned = self._heads + self._heads // attention.num_key_value_groups  # queries, then keys; values stay
        self._before, self._between = _Norm(layer.input_layernorm), _Norm(layer.post_attention_layernorm)
        self._qkv, self._o = attention.q_proj.joined.layer, attention.o_proj
        self._gate_up: Int8Linear = mlp.gate_proj.joined.layer
        self._down: Int8Linear = mlp.down_proj

    def __call__(self, x: Tensor, cosine: Tensor, sine: Tensor, plan: Plan) -> Tensor:
        """(tokens, features) -> the same shape; a turn is x cos + roll(x) sin, with tables of (tokens, 1, width)."""
        read = self._qkv.product(*self._before.in_integers(x), self._qkv.bias).view(len(x), -1, self._width)
        turned = read[:, : self._turned]
        other_half = torch.roll(turned, self._width // 2, -1)
        turned.mul_(cosine).addcmul_(other_half, sine)
        query, new = read.bfloat16().tensor_split((self._heads,), 1)
        seen = plan.attend(self._index, query, new, self._scaling).flatten(1).float()
        x = self._o.product(*in_integers(seen), x if self._o.bias is None else x + self._o.bias)
        gate, up = self._gate_up.product(*self._between.in_integers(x), self._gate_up.bias).chunk(2, 1)
        inner = in_integers(silu(gate).mul_(up))
        return self._down.product(*inner, x if self._down.bias is None else x + self._down.bias)


class FusedDecoder:
    """A quantised model of one of `KINDS`, without its modules' own forwards."""

    def __init__(self, model: Any) -> None:
        decoder = model.model
        self._embed = decoder.embed_tokens
        self._angles = decoder.rotary_emb
        self._layers = [_Layer(layer) for layer in decoder.layers]
        self._norm = _Norm(decoder.norm)
        self._head: Int8Linear = model.lm_head

    def __call__(self, ids: Tensor, keep: Tensor, plan: Plan) -> Tensor:
        """Token ids (tokens) -> logits (kept tokens, vocabulary) in float32; ``keep`` are places in ``ids``."""
        x = self._embed(ids)
        cosine, sine = (table[0, :, None] for table in self._angles(x, plan.positions[None]))
        first, second = sine.chunk(2, -1)
        signed = torch.cat((-first, second), -1)
        for layer in self._layers:
            x = layer(x, cosine, signed, plan)
        return self._head.product(*self._norm.in_integers(x[keep]), self._head.bias)


def fits(model: Any) -> bool:
    """Whether `FusedDecoder` computes what ``model`` computes."""
    return type(model) in KINDS and isinstance(model.lm_head, Int8Linear) and model.config.hidden_act == "silu"
