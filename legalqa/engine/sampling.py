"""Logits -> one token: greedy, or drawn from the smallest set of tokens that holds ``top_p`` of the probability."""

import torch
from torch import Tensor

LEAST_TEMPERATURE = 1e-5  # below, logits divided by it would be infinite, and the likeliest token is certain all the same


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
        if self._temperature < LEAST_TEMPERATURE:
            return int(logits.argmax())
        probabilities, tokens = torch.sort(torch.softmax(logits / self._temperature, dim=-1), descending=True)
        before = probabilities.cumsum(0) - probabilities
        probabilities[1:][before[1:] >= self._top_p] = 0  # the likeliest always stays
        return int(tokens[torch.multinomial(probabilities, 1, generator=self._generator)])
