"""One forward pass over the new tokens of many sequences, each of which attends only to its own slot of the cache.

Tokens of all sequences lie in one row without padding. Linear layers and norms work token by token; attention runs
sequence by sequence over exactly the keys of that sequence. So nothing that a neighbour does, not even its length, enters
a sequence's numbers. The one exception is the order of sums inside a matrix product, which for floating-point weights depends
on the number of rows: there a batch may differ from a single run in the last bits. With int8 weights the sums are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from legalqa.problems import Problem, UserError

ATTENTION = "legalqa_slots"


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
        # Memory of a slot is taken by the system when its tokens are first written, not here.
        self._cache = [
            (
                torch.empty(slots, heads, length, width, dtype=torch.bfloat16),
                torch.empty(slots, heads, length, width, dtype=torch.bfloat16),
            )
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


class _Plan:
    """Where each token of one pass belongs: passed through the model to `_attend` in every layer."""

    def __init__(self, rows: Sequence[Rows], cache: list[tuple[Tensor, Tensor]]) -> None:
        self.cache = cache
        self.spans: list[tuple[int, int, Rows]] = []  # first and last + 1 of a sequence's new tokens
        first = 0
        for r in rows:
            self.spans.append((first, first + len(r.token_ids), r))
            first += len(r.token_ids)
        self.slots = torch.tensor([r.slot for r in rows for _ in r.token_ids])
        self.positions = torch.tensor([r.start + offset for r in rows for offset in range(len(r.token_ids))])


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
    grouped = query[0].to(keys.dtype).view(shared, heads // shared, tokens, width)
    result = torch.empty(tokens, heads, width, dtype=query.dtype)
    for first, last, r in plan.spans:
        if r.start == 0:
            found = scaled_dot_product_attention(
                query[:, :, first:last].to(keys.dtype),
                keys[r.slot, None, :, : last - first].repeat_interleave(heads // shared, 1),
                values[r.slot, None, :, : last - first].repeat_interleave(heads // shared, 1),
                is_causal=True,
                scale=scaling,
            )
            result[first:last] = found[0].transpose(0, 1)
            continue
        for at in range(first, last):  # one by one, so that a token guessed ahead gets the numbers it would get alone
            end = r.start + at - first + 1
            found = scaled_dot_product_attention(
                grouped[None, :, :, at], keys[r.slot, None, :, :end], values[r.slot, None, :, :end], scale=scaling
            )
            result[at] = found.reshape(heads, width)
    return result[None], None
