"""From what speaks for a passage to probabilities: weights learnt by ``benchmarks/retrieval.py --fit``.

Those of articles and past answers on the train part of LeCoQA (oneal2000/LeCoQA, MIT: 1,234 questions, each with the
articles that answer it; never on its test part), those of the question itself on it and on everyday questions about other
things. Two sets: with vectors of meaning, and for words alone.
"""

from dataclasses import dataclass

import numpy as np

from legalqa.knowledge.meaning import Vector


@dataclass(frozen=True)
class Weights:
    """``article``: of the words that an article shares with the question, words of the law for what the question says, past
    questions near in words and near in meaning whose answers cite it, its own meaning, past answers that cite its chapter, its
    law, a law that is asked about every day, every day or often. ``answer``: of a past question's and its answer's words, the
    past question's meaning. ``law``: of the nearest meaning in the whole collection, the best words. Each ends with a constant.
    """

    article: tuple[float, float, float, float, float, float, float, float, float, float]
    answer: tuple[float, float, float]
    law: tuple[float, float, float]


WITH_MEANING = Weights(
    article=(12.52, 5.02, 2.97, 0.0, 9.87, 2.23, 1.67, 0.84, 1.79, -9.0),
    answer=(8.0, 4.0, -6.4),
    law=(72.0, 7.7, -65.26),
)
WORDS_ONLY = Weights(
    article=(19.97, 3.38, 4.94, 0.0, 0.0, 2.99, 1.98, 0.56, 1.83, -9.0),
    answer=(8.0, 0.0, -4.0),
    law=(0.0, 15.8, -2.35),
)


def probabilities(weights: tuple[float, ...], features: Vector) -> Vector:
    """Logistic regression over ``features`` [len(weights) - 1, n], the last weight a constant; 0 where nothing speaks."""
    *slopes, constant = weights
    sums = np.array(slopes, dtype=np.float32) @ features
    known: Vector = np.where(sums > 0, 1 / (1 + np.exp(-(sums + constant))), 0).astype(np.float32)
    return known
