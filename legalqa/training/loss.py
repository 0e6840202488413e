"""The loss of the answer tokens, and attention that stops at the boundaries of packed samples."""

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from legalqa.training.batches import IGNORED

PACKED_ATTENTION = "packed_sdpa"
CHUNK = 256  # answer tokens whose logits exist at once: 256 x 151,936 words are 156 MB in fp32


class AnswerLoss(nn.Module):
    """Cross entropy summed over the answer tokens, computed in chunks straight from the hidden states.

    Logits of a large vocabulary are the memory peak of a training, so they never exist for all positions: only positions
    with a target are computed, `CHUNK` at a time, and their gradient at once with them (torch's chunked linear cross
    entropy). Stands in for a model's head and loss: see `install`.
    """

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.weight = head.weight  # a direct parameter, so that ZeRO-3 gathers it for this module
        self.bias = head.bias
        self.options = torch.nn.LinearCrossEntropyOptions(
            batch_chunk_size=CHUNK, chunking_method=None, acc_policy="accurate", acc_dtype=torch.float32
        )

    def forward(self, logits: torch.Tensor, labels: torch.Tensor, **_: Any) -> torch.Tensor:
        """``logits`` are hidden states here [rows, positions, hidden], ``labels`` what each predicts [rows, positions]."""
        known = labels != IGNORED
        hidden, targets = logits[known], labels[known]
        if not torch.is_grad_enabled():
            return self._value(hidden, targets)
        loss: torch.Tensor = functional.linear_cross_entropy(
            hidden, self.weight, targets, linear_bias=self.bias, reduction="sum", options=self.options
        )
        return loss

    def _value(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), device=hidden.device)
        for part, wanted in zip(torch.split(hidden, CHUNK), torch.split(targets, CHUNK), strict=True):
            total += functional.cross_entropy(functional.linear(part, self.weight, self.bias).float(), wanted, reduction="sum")
        return total


def install(model: PreTrainedModel) -> None:
    """Make a causal model's forward return the answer loss; its head then passes the hidden states through."""
    head = model.get_output_embeddings()
    model._loss_function = AnswerLoss(head)  # what the property loss_function reads; its setter can't take a module
    model.set_output_embeddings(nn.Identity())


def packed_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    cu_seq_lens_q: torch.Tensor,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each packed sample: [1, heads, positions, size] each, returns [1, positions, heads, size].

    One call a sample costs the sum of the squared lengths; one call with a block mask would cost the square of the sum.
    """
    parts = [
        functional.scaled_dot_product_attention(
            query[:, :, a:b],
            key[:, :, a:b],
            value[:, :, a:b],
            dropout_p=dropout,
            is_causal=True,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        for a, b in pairwise(cu_seq_lens_q.tolist())
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


AttentionInterface.register(PACKED_ATTENTION, packed_attention)
AttentionMaskInterface.register(PACKED_ATTENTION, _no_mask)
