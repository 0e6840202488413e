"""One forward pass over the new tokens of many sequences, each of which attends only to its own slot of the cache.

Tokens of all sequences lie in one row without padding. Linear layers and norms work token by token; attention sees the keys
of the own sequence only: others, and what lies behind its end, count exactly nothing. So nothing that a neighbour does, not
even its length, enters a sequence's numbers. The one exception is the order of sums inside a matrix product, which for
floating-point weights depends on the number of rows: there a batch may differ from a single run in the last bits. With int8
weights the sums are exact.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from legalqa.engine.attention import NAME, Cache, Plan, Rows
from legalqa.engine.fused import FusedDecoder, fits


class SlotModel:
    """A causal language model with a key-value cache of ``slots`` sequences of up to ``length`` tokens."""

    def __init__(self, model: Any, slots: int, length: int) -> None:
        """Take over a transformers model whose attention can be exchanged, see `legalqa.base.attention`."""
        config = model.config
        self._forward = FusedDecoder(model) if fits(model) else _Plain(model)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._cache = Cache(config.num_hidden_layers, slots, heads, length, width)

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
        return list(torch.split(self.logits(rows, torch.tensor(keep)), sizes))

    @torch.inference_mode()
    def logits(self, rows: Sequence[Rows], keep: Tensor) -> Tensor:
        """Logits (len(keep), vocabulary) in float32 of what follows the tokens ``keep``, numbered through all ``rows``."""
        ids = torch.tensor([token for r in rows for token in r.token_ids])
        return self._forward(ids, keep, Plan(rows, self._cache))


class _Plain:
    """A model's own forward, with the arguments of `FusedDecoder`."""

    def __init__(self, model: Any) -> None:
        model.set_attn_implementation(NAME)
        self._model = model

    def __call__(self, ids: Tensor, keep: Tensor, plan: Plan) -> Tensor:
        output = self._model(
            input_ids=ids[None], position_ids=plan.positions[None], use_cache=False, logits_to_keep=keep, plan=plan
        )
        logits: Tensor = output.logits[0].float()
        return logits
