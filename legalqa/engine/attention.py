"""Attention of a pass over new tokens of many sequences: each sees the keys of its own slot of the cache, up to itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from legalqa.engine import kernels
from legalqa.engine.kernels import Array

NAME = "legalqa_slots"


@dataclass(frozen=True)
class Rows:
    """New tokens of one sequence: they go to positions ``start`` and following of cache slot ``slot``."""

    slot: int
    start: int
    token_ids: Sequence[int]


class Cache:
    """Keys, then values, of ``slots`` sequences: a bfloat16 tensor (slots, 2 x heads, length, width) for each layer."""

    def __init__(self, layers: int, slots: int, heads: int, length: int, width: int) -> None:
        self.length = length
        # numpy's zeros take no memory until a token is written; torch's are written at once.
        self.bits = [np.zeros((slots, 2 * heads, length, width), np.uint16) for _ in range(layers)]
        self.layers = [torch.from_numpy(bits).view(torch.bfloat16) for bits in self.bits]


class Plan:
    """Where each token of one pass belongs: passed through the model to the attention of every layer."""

    def __init__(self, rows: Sequence[Rows], cache: Cache) -> None:
        """Raises IndexError for a token behind the end of the cache."""
        self._cache = cache
        self._prompts: list[tuple[int, int, Rows]] = []  # first and last + 1 of a prompt's tokens
        single: list[int] = []  # all other tokens
        first = 0
        for r in rows:
            last = first + len(r.token_ids)
            if r.start == 0:
                self._prompts.append((first, last, r))
            else:
                single += range(first, last)
            first = last
        self._single = np.array(single, np.int64)
        self._slots = np.array([r.slot for r in rows for _ in r.token_ids], np.int64)
        self._positions = np.array([r.start + offset for r in rows for offset in range(len(r.token_ids))], np.int64)
        if self._positions.max() >= cache.length:  # compiled code would write there all the same
            raise IndexError(f"token {self._positions.max() + 1} of a sequence, room for {cache.length}")
        self.positions = torch.from_numpy(self._positions)

    def keep(self, layer: int, new: Tensor) -> None:
        """Write the new tokens' keys and values (tokens, 2 x key heads, width)."""
        self._cache.layers[layer][self._slots, :, self._positions] = new.bfloat16()

    def turn_and_keep(
        self, layer: int, product: Array, sizes: Array, bias: Array, turn: tuple[Array, Array], query: Array
    ) -> None:
        """`kernels.write_heads`: the same from a product with queries in it, which go to ``query`` (tokens, heads, width)."""
        kernels.write_heads(product, sizes, bias, *turn, query, self._cache.bits[layer], self._slots, self._positions)

    def attend(self, layer: int, query: Array, scaling: float, seen: Array) -> None:
        """Let each token look at its own sequence, of which all is written: ``query`` and ``seen`` (tokens, heads, width)."""
        for first, last, r in self._prompts:
            kept = self._cache.layers[layer][r.slot, None, :, : last - first]
            keys, values = kept.repeat_interleave(2 * query.shape[1] // kept.shape[1], 1).chunk(2, 1)
            asked = torch.from_numpy(query[None, first:last]).bfloat16().transpose(1, 2)
            found = scaled_dot_product_attention(asked, keys, values, is_causal=True, scale=scaling)
            seen[first:last] = found[0].transpose(0, 1).float().numpy()
        kernels.attend(self._single, query, self._cache.bits[layer], self._slots, self._positions, np.float32(scaling), seen)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, _mask: Tensor | None, *, plan: Plan, scaling: float, **_unused: Any
) -> tuple[Tensor, None]:
    """Attention as transformers' models call it: query (1, heads, tokens, width) -> (1, tokens, heads, width)."""
    plan.keep(module.layer_idx, torch.cat((key[0], value[0])).transpose(0, 1))
    asked = query[0].transpose(0, 1).float().contiguous().numpy()
    seen = np.empty_like(asked)
    plan.attend(module.layer_idx, asked, scaling, seen)
    return torch.from_numpy(seen)[None].to(query.dtype), None


AttentionInterface.register(NAME, _attend)
