"""Passages by meaning: their vectors, a byte a number, compared with a question's vector by the cosine.

The vectors of this model all point one way (any two texts have a cosine near 0.8), so the mean of each side is taken off first:
that ranks better, on every question set tried. The bare cosine tells better whether a question is about law at all.
"""

from pathlib import Path
from typing import Any

import numpy as np

from legalqa.knowledge.embedding import Matrix

Bytes = np.ndarray[Any, np.dtype[np.int8]]
Vector = np.ndarray[Any, np.dtype[np.float32]]

_SCALE = 680.0  # no number of a vector of this model exceeds 127 / 680


def to_bytes(vectors: Matrix) -> Bytes:
    """Unit vectors as bytes; the cosine with the exact vector stays above 0.998."""
    stored: Bytes = np.rint(vectors * _SCALE).clip(-127, 127).astype(np.int8)
    return stored


class MeaningIndex:
    """The vectors of n passages."""

    def __init__(self, stored: Bytes, asked: Vector, told: Vector | None = None) -> None:
        """``asked`` is the mean vector of questions, ``told`` that of the passages (by default as they are)."""
        self._stored = stored
        self._vectors: Matrix = stored.astype(np.float32)
        self._vectors /= np.linalg.norm(self._vectors, axis=1, keepdims=True) + 1e-9
        self._asked = asked
        self._told = self._vectors.mean(axis=0) if told is None and len(stored) else asked
        # (p - told) . (q - asked) without a second matrix
        self._apart = self._vectors @ asked
        self._length = np.sqrt(np.maximum(1 - 2 * self._vectors @ self._told + self._told @ self._told, 1e-9))

    def cosines(self, question: Vector) -> tuple[Vector, Vector]:
        """Cosines, -1 to 1, of each passage with a question's unit vector: both centred, and bare."""
        bare: Vector = self._vectors @ question
        product = bare - self._apart - self._told @ (question - self._asked)
        centred: Vector = product / (self._length * (np.linalg.norm(question - self._asked) + 1e-9))
        return centred, bare

    def save(self, path: Path) -> None:
        """Write one .npy file."""
        np.save(path, self._stored)

    @classmethod
    def load(cls, path: Path, asked: Vector, told: Vector | None = None) -> "MeaningIndex":
        """Read what ``save`` wrote."""
        return cls(np.load(path), asked, told)
