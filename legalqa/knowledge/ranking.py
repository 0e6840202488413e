"""From what speaks for a passage to probabilities: weights learnt by ``benchmarks/retrieval.py --fit``.

Those of articles and past answers on the train part of LeCoQA (oneal2000/LeCoQA, MIT: 1,097 questions with articles in force
that answer them; never on its test part), those of the question itself on 316 questions of law and of other things written for
this project (and the axis on the train part of LeCoQA and the sample's questions, too). Two sets: with vectors of meaning, and
for words alone.

``quoted`` is ``answer`` for words alone, and set by hand with meaning: with the learnt ``answer`` in its place two of three
passages in a model's prompt are past answers instead of one of seven, and the sentences that cite say less often what the
article says (docs/results.md).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from legalqa.knowledge.meaning import Vector

AXIS = Path(__file__).with_name("axis.npy")


@dataclass(frozen=True)
class Weights:
    """``article``: of the words that an article shares with the question, words of the law for what the question says, past
    questions near in words and near in meaning whose answers cite it, its own meaning, past answers that cite its chapter, its
    law, a law that is asked about every day, every day or often. ``answer``: of a past question's and its answer's words, the
    past question's meaning, as to whether it cites the right law; ``quoted``: of the same, as to whether it is worth quoting
    beside articles. ``law``: of the nearest article's meaning, the place on the axis of law, and the best share of the
    question's words that an article has, times the root of the question's length, as of a long question no article shares
    much. None rests on past answers: the more of them there are, the nearer the nearest one is to anything. Each ends with a
    constant.
    """

    article: tuple[float, float, float, float, float, float, float, float, float, float]
    answer: tuple[float, float, float]
    quoted: tuple[float, float, float]
    law: tuple[float, float, float, float]


WITH_MEANING = Weights(
    article=(12.76, 4.41, 3.17, 0.0, 9.64, 1.54, 1.32, 0.56, 1.54, -9.0),
    answer=(1.81, 6.01, -5.21),
    quoted=(8.0, 4.0, -6.4),
    law=(75.73, 0.82, 0.0, -70.28),
)
WORDS_ONLY = Weights(
    article=(21.26, 2.71, 4.71, 0.0, 0.0, 3.05, 2.43, 0.33, 1.75, -9.0),
    answer=(11.05, 0.0, -3.97),
    quoted=(11.05, 0.0, -3.97),
    law=(0.0, 0.0, 5.42, -2.3),
)


def axis_of_law() -> Vector:
    """The direction [384] along which questions of law differ most from others; a question's place on it is its product.

    Unlike the nearness of past answers it says the same however many of them there are.
    """
    axis: Vector = np.load(AXIS)
    return axis


def probabilities(weights: tuple[float, ...], features: Vector) -> Vector:
    """Logistic regression over ``features`` [len(weights) - 1, n], the last weight a constant; 0 where nothing speaks."""
    *slopes, constant = weights
    sums = np.array(slopes, dtype=np.float32) @ features
    known: Vector = np.where(sums > 0, 1 / (1 + np.exp(-(sums + constant))), 0).astype(np.float32)
    return known
