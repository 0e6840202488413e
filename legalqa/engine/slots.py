"""One forward pass over the new tokens of many sequences, each of which attends only to its own slot of the cache.

Tokens of all sequences lie in one row without padding. Linear layers and norms work token by token; attention sees the keys
of the own sequence only: others, and what lies behind its end, count exactly nothing. So nothing that a neighbour does, not
even its length, enters a sequence's numbers. The one exception is the order of sums inside a matrix product, which for
floating-point weights depends on the number of rows: there a batch may differ from a single run in the last bits. With int8
weights the sums are exact.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from legalqa.problems import Problem, UserError

ATTENTION = "legalqa_slots"
BLOCK = 256  # keys are read up to a multiple of this, alone and in company, so that sums run in the same order


@dataclass(frozen=True)
class Rows:
    """New tokens of one sequence: they go to positions ``start`` and following of cache slot ``slot``."""

    slot: int
    start: int
    token_ids: Sequence[int]


class SlotModel:
    """A causal language model with a key-value cache of ``slots`` sequences of up to ``length`` tokens."""

    def __init__(self, model: Any, slots: int, length: int) -> None:
        """Take over a transformers model. Raises UserError for attention that looks back only a window."""
        config = model.config
        windowed = set(getattr(config, "layer_types", None) or []) - {"full_attention"}
        if windowed:
            raise UserError(
                Problem("config.json", f"layers of kind {', '.join(sorted(windowed))}", "full attention in all layers")
            )
        AttentionInterface.register(ATTENTION, _attend)
        model.set_attn_implementation(ATTENTION)
        self.model = model
        heads = config.num_key_value_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        # Zeros, so that what was never written stays finite; memory is taken by the system only where a token is written.
        size = (slots, heads, _filled(length), width)
        self._cache = [
            (torch.zeros(size, dtype=torch.bfloat16), torch.zeros(size, dtype=torch.bfloat16))
            for _ in range(config.num_hidden_layers)
        ]

    @torch.inference_mode()
    def forward(self, rows: Sequence[Rows]) -> list[Tensor]:
        """Logits (tokens, vocabulary) in float32 for each sequence: what follows each of its new tokens.

        Of a prompt (``start`` 0) only the last token is asked for.
        """
        keep: list[int] = []
        sizes: list[int] = []
        first = 0
        for r in rows:
            last = first + len(r.token_ids)
            asked = range(first if r.start else last - 1, last)
            keep += asked
            sizes.append(len(asked))
            first = last
        return list(torch.split(self._logits(rows, torch.tensor(keep)), sizes))

    @torch.inference_mode()
    def answer_loss(self, ids: Sequence[int], loss_mask: Sequence[int], slot: int = 0) -> tuple[float, int]:
        """Sum of negative log-likelihoods (nats) over the tokens that ``loss_mask`` marks, and their number."""
        marked = torch.tensor(loss_mask).nonzero().flatten()
        marked = marked[marked > 0]
        logits = self._logits([Rows(slot, 0, ids)], marked - 1)
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(ids)[marked], reduction="sum")
        return float(loss), len(marked)

    def _logits(self, rows: Sequence[Rows], keep: Tensor) -> Tensor:
        ids = [token for r in rows for token in r.token_ids]
        positions = [r.start + offset for r in rows for offset in range(len(r.token_ids))]
        output = self.model(
            input_ids=torch.tensor([ids]),
            position_ids=torch.tensor([positions]),
            use_cache=False,
            logits_to_keep=keep,
            plan=_Plan(rows, self._cache),
        )
        logits: Tensor = output.logits[0].float()
        return logits


def _filled(length: int) -> int:
    return -(-length // BLOCK) * BLOCK


@dataclass(frozen=True)
class _Group:
    """Tokens that attend in one call: ``tokens`` are their places in the pass, ``slots`` the part of the cache they read.

    ``places`` are their rows in the call, ``rows`` its number of rows: a slot without a token has a row that nobody reads.
    ``mask`` (rows, 1, 1, length) hides what lies behind each token. ``whole``: row n of the call is token n, for all of both.
    """

    tokens: Tensor
    places: Tensor
    slots: slice
    mask: Tensor
    whole: bool

    @classmethod
    def of(cls, length: int, tokens: list[int], places: list[int], slots: slice, ends: list[int], rows: int) -> "_Group":
        seen = torch.ones(rows, dtype=torch.int64)
        seen[places] = torch.tensor(ends)
        mask = torch.zeros(rows, length, dtype=torch.bfloat16)
        mask.masked_fill_(torch.arange(length) >= seen[:, None], float("-inf"))
        whole = tokens == places == list(range(rows))
        return cls(torch.tensor(tokens), torch.tensor(places), slots, mask[:, None, None], whole)


class _Plan:
    """Where each token of one pass belongs: passed through the model to `_attend` in every layer."""

    def __init__(self, rows: Sequence[Rows], cache: list[tuple[Tensor, Tensor]]) -> None:
        self.cache = cache
        self.prompts: list[tuple[int, int, Rows]] = []  # first and last + 1 of a prompt's tokens
        self.groups: list[_Group] = []
        short: list[tuple[int, int, int]] = []  # token, slot, end
        first = 0
        for r in rows:
            last = first + len(r.token_ids)
            ends = range(r.start + 1, r.start + 1 + len(r.token_ids))
            if r.start == 0:
                self.prompts.append((first, last, r))
            elif len(ends) == 1 and ends[0] <= BLOCK:  # a long one would make the others read as far as itself
                short.append((first, r.slot, ends[0]))
            else:
                self.groups += _own(first, r.slot, ends)
            first = last
        if short:
            tokens, slots, short_ends = map(list, zip(*short, strict=True))
            low, high = min(slots), max(slots) + 1
            places = [slot - low for slot in slots]
            self.groups.append(_Group.of(BLOCK, tokens, places, slice(low, high), short_ends, high - low))
        self.whole = not self.prompts and len(self.groups) == 1 and self.groups[0].whole
        self.slots = torch.tensor([r.slot for r in rows for _ in r.token_ids])
        self.positions = torch.tensor([r.start + offset for r in rows for offset in range(len(r.token_ids))])


def _own(first: int, slot: int, ends: range) -> Iterator[_Group]:
    """One sequence's groups: tokens guessed ahead read the same keys, each up to its own end."""
    for length, some in itertools.groupby(enumerate(ends, first), lambda token: _filled(token[1])):
        tokens, own_ends = map(list, zip(*some, strict=True))
        yield _Group.of(length, tokens, list(range(len(tokens))), slice(slot, slot + 1), own_ends, len(tokens))


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, _mask: Tensor | None, *, plan: _Plan, scaling: float, **_unused: Any
) -> tuple[Tensor, None]:
    """Attention as transformers' models call it: query (1, heads, tokens, width) -> (1, tokens, heads, width).

    Query heads that share a key head are laid out as one longer query (grouped-query attention without copies of the keys).
    """
    keys, values = plan.cache[module.layer_idx]
    keys[plan.slots, :, plan.positions] = key[0].transpose(0, 1).to(keys.dtype)
    values[plan.slots, :, plan.positions] = value[0].transpose(0, 1).to(values.dtype)
    shared = keys.shape[1]
    _, heads, tokens, width = query.shape
    asking = query[0].transpose(0, 1).to(keys.dtype)
    if plan.whole:  # the usual step: nothing to gather or to scatter
        return _attend_group(asking, keys, values, plan.groups[0], scaling).to(query.dtype)[None], None
    result = torch.empty(tokens, heads, width, dtype=query.dtype)
    for first, last, r in plan.prompts:
        found = scaled_dot_product_attention(
            asking[None, first:last].transpose(1, 2),
            keys[r.slot, None, :, : last - first].repeat_interleave(heads // shared, 1),
            values[r.slot, None, :, : last - first].repeat_interleave(heads // shared, 1),
            is_causal=True,
            scale=scaling,
        )
        result[first:last] = found[0].transpose(0, 1)
    for group in plan.groups:
        asked = torch.zeros(len(group.mask), heads, width, dtype=keys.dtype)
        asked[group.places] = asking[group.tokens]
        result[group.tokens] = _attend_group(asked, keys, values, group, scaling)[group.places].to(result.dtype)
    return result[None], None


def _attend_group(asked: Tensor, keys: Tensor, values: Tensor, group: _Group, scaling: float) -> Tensor:
    """One query (heads, width) a row against the keys of the row's slot: (rows, heads, width)."""
    number, heads, width = asked.shape
    shared, length = keys.shape[1], group.mask.shape[-1]
    found = scaled_dot_product_attention(
        asked.view(number, shared, heads // shared, width),
        keys[group.slots, :, :length].expand(number, -1, -1, -1),
        values[group.slots, :, :length].expand(number, -1, -1, -1),
        attn_mask=group.mask,
        scale=scaling,
    )
    return found.reshape(number, heads, width)
