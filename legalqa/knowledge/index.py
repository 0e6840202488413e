"""BM25 over one field of the passages, its scores brought to the scale 0 to 1: the share of the query's weight that was found.

That share, unlike a bare BM25 score, means the same for short and long queries and over any collection, so fields can be
added up and a threshold set. Words that the collection has never seen count as the rarest of all: a question about something
else than law finds little of itself.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
from bm25s.tokenization import Tokenized

Vector = np.ndarray[Any, np.dtype[np.float32]]


class TermIndex:
    """The terms of n documents, searched together."""

    def __init__(self, bm25: bm25s.BM25) -> None:
        self._bm25 = bm25
        self.size = int(bm25.scores["num_docs"])
        found_in = np.diff(bm25.scores["indptr"])
        self._weight = np.log1p((self.size - found_in + 0.5) / (found_in + 0.5)).astype(np.float32)  # idf as in Lucene
        self._unknown = float(np.log1p((self.size + 0.5) / 0.5))

    @classmethod
    def build(cls, documents: Iterable[Sequence[str]], k1: float = 1.2, b: float = 0.6) -> "TermIndex":
        """Index documents given as terms. ``k1``: how soon repetition stops counting; ``b``: how much length counts."""
        vocabulary: dict[str, int] = {"": 0}  # holds the place of a document without terms
        ids = [[vocabulary.setdefault(term, len(vocabulary)) for term in document] or [0] for document in documents]
        bm25 = bm25s.BM25(k1=k1, b=b, method="lucene")
        bm25.index(Tokenized(ids=ids, vocab=vocabulary), show_progress=False)
        return cls(bm25)

    def shares(self, query: Iterable[str]) -> Vector:
        """For each document the share of the query's weight that it holds, 0 to 1; repeated terms of the query count once."""
        distinct = dict.fromkeys(query)
        return self._scores(distinct, self._whole(distinct))

    def widened(self, query: Iterable[str], more: Iterable[str]) -> tuple[Vector, Vector]:
        """``shares`` of the query, and what ``more`` terms add, measured by the weight of the query alone."""
        distinct = dict.fromkeys(query)
        whole = self._whole(distinct)
        return self._scores(distinct, whole), self._scores(dict.fromkeys(more), whole)

    def _whole(self, terms: Iterable[str]) -> float:
        """The weight of all ``terms``, unknown ones included."""
        places = [self._bm25.vocab_dict.get(term) for term in terms]
        return sum(self._unknown if place is None else float(self._weight[place]) for place in places)

    def _scores(self, terms: Iterable[str], whole: float) -> Vector:
        ids = [place for term in terms if (place := self._bm25.vocab_dict.get(term)) is not None]
        if not ids:
            return np.zeros(self.size, dtype=np.float32)
        scores: Vector = self._bm25.get_scores_from_ids(ids) / np.float32(whole)
        return scores

    def save(self, folder: Path) -> None:
        """Write the index into a folder of its own; the same documents give the same bytes."""
        self._bm25.save(folder, show_progress=False)

    @classmethod
    def load(cls, folder: Path) -> "TermIndex":
        """Read what ``save`` wrote."""
        return cls(bm25s.BM25.load(folder, show_progress=False))
