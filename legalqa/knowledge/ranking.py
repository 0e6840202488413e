"""From what speaks for a passage to one score: weights and scales learnt on the train part of LeCoQA (oneal2000/LeCoQA, MIT:
1,234 questions, each with the articles that answer it), never on its test part.

Fitted by benchmarks/retrieval.py --fit, which prints these numbers.
"""

from dataclasses import dataclass

import numpy as np

from legalqa.knowledge.meaning import Vector


@dataclass(frozen=True)
class Weights:
    """Of an article: ``words`` it shares with the question, words of the law for what the question says (``widened``), past
    questions near in words or in meaning whose answers cite it, its own ``meaning``. Of a past answer: its question's and
    its own words, its question's meaning. ``slope`` and ``offset`` turn a sum into a probability.
    """

    words: float
    widened: float
    past_words: float
    past_meaning: float
    meaning: float
    slope: float
    offset: float
    answer_words: float
    answer_meaning: float
    answer_slope: float
    answer_offset: float

    def articles(self, sums: Vector) -> Vector:
        """Probability that an article bears on the question."""
        return _probability(sums, self.slope, self.offset)

    def answers(self, sums: Vector) -> Vector:
        """Probability that a past answer answers the question."""
        return _probability(sums, self.answer_slope, self.answer_offset)


def _probability(sums: Vector, slope: float, offset: float) -> Vector:
    probability: Vector = (1 / (1 + np.exp(-slope * (sums - offset)))).astype(np.float32)
    return probability


WITH_MEANING = Weights(1.0, 0.31, 0.2, 0.2, 0.52, 15.0, 0.4, 1.0, 0.5, 8.0, 0.8)
WORDS_ONLY = Weights(1.0, 0.5, 0.5, 0.0, 0.0, 8.0, 0.4, 1.0, 0.0, 8.0, 0.5)
