"""The loss of the answer tokens, computed only where there are some."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from legalqa.training.batches import IGNORED
from legalqa.training.int8 import FrozenInt8Linear, in_levels, product

CHUNK = 512  # answer tokens whose logits exist at once: 512 x 151,936 words are 156 MB in bf16
WORDS = 4096  # of the vocabulary that are worked on at once: 512 x 4,096 are 8 MB in fp32


class AnswerLoss(nn.Module):
    """Cross entropy summed over the answer tokens, straight from the hidden states.

    Logits of a large vocabulary are the memory peak of a training, so they never exist for all positions: only positions
    with a target are computed, `CHUNK` at a time. Stands in for a model's frozen head and its loss: see `install`.
    """

    def __init__(self, head: nn.Linear | FrozenInt8Linear) -> None:
        super().__init__()
        self.weight = head.weight  # a direct parameter, so that ZeRO-3 gathers it for this module
        self.scales = head.scales if isinstance(head, FrozenInt8Linear) else None
        self.right: torch.Tensor
        self.register_buffer("right", torch.zeros((), dtype=torch.long), persistent=False)
        """Answer tokens that were the likeliest word, counted up without gradients alone: for the dev split."""

    def forward(self, logits: torch.Tensor, labels: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """``logits`` are hidden states here [rows, positions, hidden], ``labels`` what each predicts [rows, positions].

        Returns a scalar in fp32, whatever the dtype of the model.
        """
        known = labels != IGNORED
        loss: torch.Tensor = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]
            logits[known], self.weight, self.scales, labels[known], self.right
        )
        return loss


class _ChunkedLoss(torch.autograd.Function):
    """Summed cross entropy of softmax(hidden @ weight.T); the gradient is made with each chunk's logits, then they go.

    The vocabulary is taken in blocks that stay in a processor's cache: a pass over all logits in fp32 costs a CPU as much as
    their matrix product. A block keeps exp(logit - its maximum), which is all that the gradient needs:
    softmax @ weight = sum over the blocks of exp(maximum - log sum) * (kept @ block). (torch's own linear_cross_entropy
    returns the loss in bf16 and takes more than twice the time on a CPU.)
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        scales: torch.Tensor | None,
        targets: torch.Tensor,
        right: torch.Tensor,
    ) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        learns = ctx.needs_input_grad[0]
        gradient = torch.empty_like(hidden) if learns else None
        head = _Head(weight) if scales is None else _Int8Head(weight, scales)
        for start in range(0, len(targets), CHUNK):
            part, wanted = hidden[start : start + CHUNK], targets[start : start + CHUNK]
            head.read(part)
            kept, tops, sums = [], [], []
            best, likeliest = part.new_full((len(part),), -torch.inf, dtype=torch.float32), torch.zeros_like(wanted)
            for number in range(-(-len(weight) // WORDS)):
                logits = head.logits(number)
                top, word = logits.max(1)
                likeliest = torch.where(top > best, word + number * WORDS, likeliest)
                best = torch.maximum(best, top)
                rows = (wanted // WORDS == number).nonzero().flatten()
                total -= logits[rows, wanted[rows] % WORDS].sum()
                powers = logits.sub_(top[:, None]).exp_()
                tops.append(top)
                sums.append(powers.sum(1).log())
                if learns:
                    kept.append(powers.to(hidden.dtype))
            top = torch.stack(tops)
            log_sum = (top + torch.stack(sums)).logsumexp(0)
            total += log_sum.sum()
            if gradient is None:
                right += (likeliest == wanted).sum()
                continue
            expected = -head.rows(wanted)
            for number, (powers, scale) in enumerate(zip(kept, (top - log_sum).exp(), strict=True)):
                expected += head.sums(number, powers).mul_(scale[:, None])
            gradient[start : start + CHUNK] = expected
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None, None, None


class _Head:
    """The weights (words, hidden) in blocks of `WORDS`, as a chunk of hidden states (tokens, hidden) needs them."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._weight, self._blocks = weight, torch.split(weight, WORDS)

    def read(self, part: torch.Tensor) -> None:
        """The next chunk."""
        self._part = part

    def logits(self, number: int) -> torch.Tensor:
        """What the chunk gives for a block's words: (tokens, words) in fp32."""
        return functional.linear(self._part, self._blocks[number]).float()

    def sums(self, number: int, powers: torch.Tensor) -> torch.Tensor:
        """A block's rows, weighted by (tokens, words): (tokens, hidden) in fp32."""
        sums: torch.Tensor = (powers @ self._blocks[number]).float()
        return sums

    def rows(self, words: torch.Tensor) -> torch.Tensor:
        """The rows of some words, in fp32."""
        rows: torch.Tensor = self._weight[words].float()
        return rows


class _Int8Head(_Head):
    """Logits by integer products. Probabilities span too many sizes for integers: they meet the weights as 16-bit numbers."""

    def __init__(self, weight: torch.Tensor, scales: torch.Tensor) -> None:
        super().__init__(weight)
        self._scales, self._block_scales = scales, torch.split(scales, WORDS)

    def read(self, part: torch.Tensor) -> None:
        self._levels, self._sizes = in_levels(part)

    def logits(self, number: int) -> torch.Tensor:
        return product(self._levels, self._sizes, self._blocks[number].T).mul_(self._block_scales[number])

    def sums(self, number: int, powers: torch.Tensor) -> torch.Tensor:
        scaled = powers * self._block_scales[number].to(powers.dtype)
        return (scaled @ self._blocks[number].to(powers.dtype)).float()

    def rows(self, words: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self._weight[words] * self._scales[words, None]
        return rows


def install(model: PreTrainedModel) -> AnswerLoss:
    """Make a causal model's forward return the answer loss; its head then passes the hidden states through."""
    head = model.get_output_embeddings()
    if head.bias is not None or head.weight.requires_grad:
        raise NotImplementedError(f"{type(model).__name__}: a head that is trained or has a bias")
    loss = AnswerLoss(head)
    model._loss_function = loss  # what the property loss_function reads; its setter can't take a module
    model.set_output_embeddings(nn.Identity())
    return loss
