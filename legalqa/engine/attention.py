"""Attention of a pass over new tokens of many sequences: each sees the keys of its own slot of the cache, up to itself."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "legalqa_slots"
BLOCK = 256  # keys are read up to a multiple of this, alone and in company, so that sums run in the same order


@dataclass(frozen=True)
class Rows:
    """New tokens of one sequence: they go to positions ``start`` and following of cache slot ``slot``."""

    slot: int
    start: int
    token_ids: Sequence[int]


def filled(length: int) -> int:
    """Places that ``length`` tokens take."""
    return -(-length // BLOCK) * BLOCK


@dataclass(frozen=True)
class _Group:
    """Tokens that attend in one call: ``tokens`` are their places in the pass, ``slots`` the part of the cache they read.

    ``places`` are their rows in the call; a slot without a token has a row that nobody reads. ``mask`` (rows, 1, 1, length)
    hides what lies behind each token. ``direct``: row n of the call is token n, for all of both.
    """

    tokens: Tensor
    places: Tensor
    slots: slice
    mask: Tensor
    direct: bool

    @classmethod
    def of(cls, length: int, tokens: list[int], places: list[int], slots: slice, ends: list[int], rows: int) -> "_Group":
        seen = torch.ones(rows, dtype=torch.int64)
        seen[places] = torch.tensor(ends)
        mask = torch.zeros(rows, length, dtype=torch.bfloat16)
        mask.masked_fill_(torch.arange(length) >= seen[:, None], float("-inf"))
        direct = tokens == places == list(range(rows))
        return cls(torch.tensor(tokens), torch.tensor(places), slots, mask[:, None, None], direct)


class Plan:
    """Where each token of one pass belongs: passed through the model to the attention of every layer."""

    def __init__(self, rows: Sequence[Rows], cache: list[Tensor]) -> None:
        self._cache = cache
        self._prompts: list[tuple[int, int, Rows]] = []  # first and last + 1 of a prompt's tokens
        self._groups: list[_Group] = []
        short: list[tuple[int, int, int]] = []  # token, slot, end
        first = 0
        for r in rows:
            last = first + len(r.token_ids)
            ends = range(r.start + 1, r.start + 1 + len(r.token_ids))
            if r.start == 0:
                self._prompts.append((first, last, r))
            elif len(ends) == 1 and ends[0] <= BLOCK:  # a long one would make the others read as far as itself
                short.append((first, r.slot, ends[0]))
            else:
                self._groups += _own(first, r.slot, ends)
            first = last
        if short:
            tokens, slots, short_ends = map(list, zip(*short, strict=True))
            low, high = min(slots), max(slots) + 1
            places = [slot - low for slot in slots]
            self._groups.append(_Group.of(BLOCK, tokens, places, slice(low, high), short_ends, high - low))
        self._direct = not self._prompts and len(self._groups) == 1 and self._groups[0].direct
        self._slots = torch.tensor([r.slot for r in rows for _ in r.token_ids])
        self.positions = torch.tensor([r.start + offset for r in rows for offset in range(len(r.token_ids))])

    def attend(self, layer: int, query: Tensor, read: Tensor, scaling: float) -> Tensor:
        """Write the new tokens' keys and values, then let each token look at its own sequence. All in bfloat16.

        ``query`` (tokens, heads, width) -> the same shape; ``read`` (tokens, 2 x key heads, width): keys, then values. Query
        heads that share a key head are laid out as one longer query (grouped-query attention without copies of the keys).
        """
        cache = self._cache[layer]
        cache[self._slots, :, self.positions] = read
        if self._direct:  # the usual step: nothing to gather or to scatter
            return _attend_group(query, cache, self._groups[0], scaling)
        result = torch.empty_like(query)
        for first, last, r in self._prompts:
            keys, values = (
                cache[r.slot, None, :, : last - first].repeat_interleave(2 * query.shape[1] // cache.shape[1], 1).chunk(2, 1)
            )
            found = scaled_dot_product_attention(
                query[None, first:last].transpose(1, 2), keys, values, is_causal=True, scale=scaling
            )
            result[first:last] = found[0].transpose(0, 1)
        for group in self._groups:
            asked = query.new_zeros(len(group.mask), *query.shape[1:])
            asked[group.places] = query[group.tokens]
            result[group.tokens] = _attend_group(asked, cache, group, scaling)[group.places]
        return result


def _own(first: int, slot: int, ends: range) -> Iterator[_Group]:
    """One sequence's groups: tokens guessed ahead read the same keys, each up to its own end."""
    for length, some in itertools.groupby(enumerate(ends, first), lambda token: filled(token[1])):
        tokens, own_ends = map(list, zip(*some, strict=True))
        yield _Group.of(length, tokens, list(range(len(tokens))), slice(slot, slot + 1), own_ends, len(tokens))


def _attend_group(asked: Tensor, cache: Tensor, group: _Group, scaling: float) -> Tensor:
    """One query (heads, width) a row against the keys of the row's slot: (rows, heads, width)."""
    number, heads, width = asked.shape
    shared, length = cache.shape[1] // 2, group.mask.shape[-1]
    keys, values = cache[group.slots, :, :length].expand(number, -1, -1, -1).chunk(2, 1)
    found = scaled_dot_product_attention(
        asked.view(number, shared, heads // shared, width), keys, values, attn_mask=group.mask, scale=scaling
    )
    return found.reshape(number, heads, width)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, _mask: Tensor | None, *, plan: Plan, scaling: float, **_unused: Any
) -> tuple[Tensor, None]:
    """Attention as transformers' models call it: query (1, heads, tokens, width) -> (1, tokens, heads, width)."""
    read = torch.cat((key[0], value[0])).transpose(0, 1).bfloat16()
    found = plan.attend(module.layer_idx, query[0].transpose(0, 1).bfloat16(), read, scaling)
    return found[None].to(query.dtype), None


AttentionInterface.register(NAME, _attend)
