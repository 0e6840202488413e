"""Passages by meaning: their vectors, a byte a number, compared with a question's vector by the cosine.

The vectors of this model all point one way (any two texts have a cosine near 0.8), so the mean of each side is taken off first:
that separates better, on every question set tried, than the bare cosine.
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

    def __init__(self, stored: Bytes, centre: Vector | None = None) -> None:
        """``centre`` is taken off each vector; by default their own mean."""
        self._stored = stored
        vectors = stored.astype(np.float32) / _SCALE
        if len(vectors):
            vectors -= vectors.mean(axis=0) if centre is None else centre
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
        self._vectors: Matrix = vectors

    def cosines(self, question: Vector) -> Vector:
        """Cosine, -1 to 1, of each passage with a question's unit vector that is already centred."""
        cosines: Vector = self._vectors @ question
        return cosines

    def save(self, path: Path) -> None:
        """Write one .npy file."""
        np.save(path, self._stored)

    @classmethod
    def load(cls, path: Path, centre: Vector | None = None) -> "MeaningIndex":
        """Read what ``save`` wrote."""
        return cls(np.load(path), centre)


def centred(vector: Vector, centre: Vector) -> Vector:
    """``vector`` without ``centre``, of length 1."""
    moved = vector - centre
    unit: Vector = moved / (np.linalg.norm(moved) + 1e-9)
    return unit
