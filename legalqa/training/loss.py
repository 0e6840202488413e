"""The loss of the answer tokens, computed only where there are some."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from legalqa.training.batches import IGNORED

CHUNK = 128  # answer tokens whose logits exist at once: 128 x 151,936 words are 78 MB in fp32


class AnswerLoss(nn.Module):
    """Cross entropy summed over the answer tokens, straight from the hidden states.

    Logits of a large vocabulary are the memory peak of a training, so they never exist for all positions: only positions
    with a target are computed, `CHUNK` at a time. Stands in for a model's frozen head and its loss: see `install`.
    """

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.weight = head.weight  # a direct parameter, so that ZeRO-3 gathers it for this module

    def forward(self, logits: torch.Tensor, labels: torch.Tensor, **_: Any) -> torch.Tensor:
        """``logits`` are hidden states here [rows, positions, hidden], ``labels`` what each predicts [rows, positions].

        Returns a scalar in fp32, whatever the dtype of the model.
        """
        known = labels != IGNORED
        loss: torch.Tensor = _ChunkedLoss.apply(logits[known], self.weight, labels[known])  # type: ignore[no-untyped-call]
        return loss


class _ChunkedLoss(torch.autograd.Function):
    """Summed cross entropy of softmax(hidden @ weight.T); the gradient is made with each chunk's logits, then they go.

    (torch's own linear_cross_entropy does the same, but returns the loss in bf16 and takes twice the time on a CPU.)
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, len(targets), CHUNK):
            part, wanted = hidden[start : start + CHUNK], targets[start : start + CHUNK, None]
            logits = functional.linear(part, weight).float()
            log_likelihood = torch.log_softmax(logits, dim=1)
            total -= log_likelihood.gather(1, wanted).sum()
            if gradient is not None:  # softmax - onehot, through the head
                error = log_likelihood.exp_().scatter_add_(1, wanted, torch.full_like(wanted, -1, dtype=torch.float32))
                gradient[start : start + CHUNK] = error.to(hidden.dtype) @ weight
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None


def install(model: PreTrainedModel) -> None:
    """Make a causal model's forward return the answer loss; its head then passes the hidden states through."""
    head = model.get_output_embeddings()
    if head.bias is not None or head.weight.requires_grad:
        raise NotImplementedError(f"{type(model).__name__}: a head that is trained or has a bias")
    model._loss_function = AnswerLoss(head)  # what the property loss_function reads; its setter can't take a module
    model.set_output_embeddings(nn.Identity())
