"""Decoder layers of the Llama kind with int8 weights: four products a layer, and between them what `kernels` compiles.

The result differs from that of the modules' own forwards in the last bits; rows still don't see each other.
"""

from typing import Any

import numpy as np
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor
from transformers import LlamaForCausalLM, Qwen2ForCausalLM

from legalqa.engine import kernels
from legalqa.engine.attention import Plan
from legalqa.engine.kernels import Array
from legalqa.engine.quantised import OFFSET, Int8Linear, rows_in_integers

KINDS = (LlamaForCausalLM, Qwen2ForCausalLM)  # whose arithmetic this is


class _Rows:
    """The rows of one pass on their way to a product."""

    def __init__(self, rows: int, features: int) -> None:
        self._levels, self._sizes = rows_in_integers(rows, features)
        self.levels, self.sizes = self._levels.numpy(), self._sizes.numpy()

    def times(self, layer: Int8Linear) -> Array:
        """(rows, out_features), to be scaled by ``sizes``."""
        product: Array = layer.product(self._levels).numpy()
        return product


class _Norm:
    def __init__(self, norm: Any) -> None:
        self._weight = norm.weight.detach().float().numpy()
        self._epsilon = np.float32(norm.variance_epsilon)

    def __call__(self, x: Array, rows: _Rows) -> None:
        kernels.normed_in_integers(x, self._weight, self._epsilon, OFFSET, rows.levels, rows.sizes)


class _Layer:
    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._index, self._scaling = attention.layer_idx, attention.scaling
        self._before, self._between = _Norm(layer.input_layernorm), _Norm(layer.post_attention_layernorm)
        self._qkv: Int8Linear = attention.q_proj.joined.layer
        self._o: Int8Linear = attention.o_proj
        self._gate_up: Int8Linear = mlp.gate_proj.joined.layer
        self._down: Int8Linear = mlp.down_proj
        self._biases = [_bias(layer) for layer in (self._qkv, self._o, self._gate_up, self._down)]
        heads = self._o.in_features // attention.head_dim
        self.widths = self._o.out_features, (heads, attention.head_dim), self._down.in_features

    def __call__(self, x: Array, turn: tuple[Array, Array], room: "_Room", plan: Plan) -> None:
        """Add to ``x`` (tokens, features) what this layer has to say."""
        qkv_bias, o_bias, gate_up_bias, down_bias = self._biases
        self._before(x, room.outer)
        plan.turn_and_keep(self._index, room.outer.times(self._qkv), room.outer.sizes, qkv_bias, turn, room.query)
        plan.attend(self._index, room.query, self._scaling, room.seen)
        kernels.in_integers(room.seen.reshape(len(x), -1), OFFSET, room.heads.levels, room.heads.sizes)
        kernels.add_product(x, room.heads.times(self._o), room.heads.sizes, o_bias)
        self._between(x, room.outer)
        gate_up = room.outer.times(self._gate_up)
        kernels.gated_in_integers(gate_up, room.outer.sizes, gate_up_bias, OFFSET, room.inner.levels, room.inner.sizes)
        kernels.add_product(x, room.inner.times(self._down), room.inner.sizes, down_bias)


class _Room:
    """What the layers of one pass write to, one after the other."""

    def __init__(self, rows: int, features: int, heads: tuple[int, int], inner: int) -> None:
        self.outer, self.heads, self.inner = _Rows(rows, features), _Rows(rows, heads[0] * heads[1]), _Rows(rows, inner)
        self.query, self.seen = np.empty((2, rows, *heads), np.float32)


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
        embedded = self._embed(ids)
        cosine, sine = (table[0].numpy() for table in self._angles(embedded, plan.positions[None]))
        x = embedded.numpy()
        room = _Room(len(x), *self._layers[0].widths)
        for layer in self._layers:
            layer(x, (cosine, sine), room, plan)
        last = _Rows(len(keep), x.shape[1])
        self._norm(x[keep.numpy()], last)
        logits = torch.from_numpy(last.times(self._head)).mul_(torch.from_numpy(last.sizes))
        return logits if self._head.bias is None else logits.add_(self._head.bias)


def _bias(layer: Int8Linear) -> Array:
    bias: Array = np.zeros(layer.out_features, np.float32) if layer.bias is None else layer.bias.numpy()
    return bias


def fits(model: Any) -> bool:
    """Whether `FusedDecoder` computes what ``model`` computes."""
    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        return False
    if type(model) not in KINDS or not isinstance(model.lm_head, Int8Linear) or model.config.hidden_act != "silu":
        return False
    turned = 2 * len(model.model.rotary_emb.inv_freq)
    return bool(turned == model.model.layers[0].self_attn.head_dim)
