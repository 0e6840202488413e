"""Logits -> one token: greedy, or drawn from the smallest set of tokens that holds ``top_p`` of the probability."""

import torch
from torch import Tensor


class Sampler:
    """Chooses the tokens of one request; its own generator, so a seed gives the same tokens whatever runs beside it."""

    def __init__(self, temperature: float, top_p: float, seed: int | None) -> None:
        self._temperature = temperature
        self._top_p = top_p
        self._generator = torch.Generator()
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)

    def choose(self, logits: Tensor) -> int:
        """Token id for float32 logits (vocabulary,)."""
        if self._temperature <= 0:
            return int(logits.argmax())
        probabilities, tokens = torch.sort(torch.softmax(logits / self._temperature, dim=-1), descending=True)
        before = probabilities.cumsum(0) - probabilities
        probabilities[before >= self._top_p] = 0
        return int(tokens[torch.multinomial(probabilities, 1, generator=self._generator)])
