"""Passages by meaning: their vectors, a byte a number, compared with a question's vector by the cosine.

The vectors of this model all point one way (any two texts have a cosine near 0.8), so the mean of each side is taken off first:
that ranks better, on every question set tried. The bare cosine of the nearest article tells better whether a question is about
law.

People ask in other words than statutes use, and by more than the mean: a matrix learnt on questions and the articles that
answer them (``vectors.turn_of_questions``) turns a question's vector towards the law.
"""

from pathlib import Path
from typing import Any

import numpy as np

from legalqa.knowledge.embedding import Matrix

Bytes = np.ndarray[Any, np.dtype[np.int8]]
Vector = np.ndarray[Any, np.dtype[np.float32]]
Places = np.ndarray[Any, np.dtype[np.int64]]

_SCALE = 680.0  # no number of a vector of this model exceeds 127 / 680


def to_bytes(vectors: Matrix) -> Bytes:
    """Unit vectors as bytes; the cosine with the exact vector stays above 0.998."""
    stored: Bytes = np.rint(vectors * _SCALE).clip(-127, 127).astype(np.int8)
    return stored


class MeaningIndex:
    """The vectors of n passages."""

    def __init__(self, stored: Bytes, asked: Vector, told: Vector | None = None, turn: Matrix | None = None) -> None:
        """``asked`` is the mean vector of questions, ``told`` that of the passages (by default as they are); ``turn``
        [384, 384], where there is one, is applied to a question's centred vector.
        """
        self._stored = stored
        self._vectors: Matrix = stored.astype(np.float32)
        self._vectors /= np.linalg.norm(self._vectors, axis=1, keepdims=True) + 1e-9
        self._asked = asked
        self._told = self._vectors.mean(axis=0) if told is None and len(stored) else asked
        self._turn = turn
        # Of (p - told) without a second matrix.
        self._length = np.sqrt(np.maximum(1 - 2 * self._vectors @ self._told + self._told @ self._told, 1e-9))

    def nearness(self, question: Vector) -> Vector:
        """Of each passage to a question's unit vector: the cosine of both centred, the question turned (not cut to length 1
        again, so beyond -1 to 1 where the turn stretches it).
        """
        towards = self.towards(question)
        if self._turn is not None:
            towards = towards @ self._turn
        # einsum stays on this thread. BLAS would wait for a second one that the embedding model's threads keep busy.
        centred: Vector = (np.einsum("nd,d->n", self._vectors, towards) - self._told @ towards) / self._length
        return centred

    def nearest(self, question: Vector) -> float:
        """The bare cosine of the passage nearest to a question's unit vector; 0 without passages."""
        return float(np.einsum("nd,d->n", self._vectors, question).max(initial=0))

    def towards(self, question: Vector) -> Vector:
        """A question's centred unit vector, not turned."""
        apart = question - self._asked
        unit: Vector = apart / (np.linalg.norm(apart) + 1e-9)
        return unit

    def centred(self, places: Places | slice = slice(None)) -> Matrix:
        """Centred unit vectors of some passages, or of all."""
        chosen: Matrix = (self._vectors[places] - self._told) / self._length[places, None]
        return chosen

    def save(self, path: Path) -> None:
        """Write one .npy file."""
        np.save(path, self._stored)

    @classmethod
    def load(cls, path: Path, asked: Vector, told: Vector | None = None, turn: Matrix | None = None) -> "MeaningIndex":
        """Read what ``save`` wrote."""
        return cls(np.load(path), asked, told, turn)
