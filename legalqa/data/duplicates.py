"""Near-duplicate texts by MinHash: candidates from rensa's signatures, every candidate pair then checked exactly.

rensa (Rust) turns a flat buffer of shingle hashes into signatures in one call, about a hundred times faster than a Python
loop over datasketch; it is the only one of the two that keeps a million questions within seconds. Source of the method:
Broder 1997 (MinHash), Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3 (banding).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rensa import RMinHash
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

SHINGLE = 2  # characters; Chinese words have two, and a rewording changes few pairs
PERMUTATIONS = 80
BANDS = 20  # of 4 values each: a pair of similarity 0.8 becomes a candidate with probability 0.99997, of 0.7 with 0.996
BLOCK = 50_000
ALL_PAIRS = 16  # in a bucket up to this size every pair is checked, in a larger one each text against the first and the next


class Shingles:
    """The distinct shingle hashes of many texts, flat: those of text i are ``values[starts[i]:starts[i + 1]]``, sorted."""

    def __init__(self, values: Hashes, starts: Integers) -> None:
        self.values = values
        self.starts = starts

    @classmethod
    def of(cls, texts: list[str]) -> "Shingles":
        """Hash every run of two characters of every text, vectorised over blocks of texts."""
        values, lengths = [], []
        for start in range(0, len(texts), BLOCK):
            block = texts[start : start + BLOCK]
            sizes = np.fromiter(map(len, block), np.int64, len(block))
            codes = np.frombuffer("".join(block).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
            owner = np.repeat(np.arange(len(block), dtype=np.uint64), sizes)
            pairs = (codes[:-1] << np.uint64(21)) | codes[1:]
            inside = owner[:-1] == owner[1:]
            keys = np.unique((owner[:-1][inside] << np.uint64(42)) | pairs[inside])
            values.append(_mixed(keys & np.uint64((1 << 42) - 1)))
            lengths.append(np.bincount((keys >> np.uint64(42)).astype(np.int64), minlength=len(block)))
        counts = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return cls(np.concatenate(values) if values else np.zeros(0, np.uint64), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def signatures(self, first: int, last: int, seed: int) -> npt.NDArray[np.uint32]:
        """MinHash signatures of texts first..last-1, one row a text."""
        offsets = (self.starts[first : last + 1] - self.starts[first]).astype(np.uint64)
        flat = self.values[self.starts[first] : self.starts[last]]
        rows: Any = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, PERMUTATIONS, seed)
        return np.array(rows.to_rows(), dtype=np.uint32)

    def similarities(self, left: Integers, right: Integers) -> npt.NDArray[np.float64]:
        """Exact Jaccard similarity of pairs of texts. Texts without a shingle are similar to nothing."""
        sizes = np.diff(self.starts)
        shared = np.empty(len(left), np.int64)
        for start in range(0, len(left), BLOCK):
            span = slice(start, start + BLOCK)
            shared[span] = self._shared(left[span], right[span], sizes)
        union = sizes[left] + sizes[right] - shared
        return np.divide(shared, union, out=np.zeros(len(left)), where=union > 0)

    def _shared(self, left: Integers, right: Integers, sizes: Integers) -> Integers:
        pair = np.repeat(np.tile(np.arange(len(left)), 2), np.concatenate([sizes[left], sizes[right]]))
        values = np.concatenate([self._gathered(left, sizes), self._gathered(right, sizes)])
        order = np.lexsort((values, pair))
        pair, values = pair[order], values[order]
        twice = (pair[1:] == pair[:-1]) & (values[1:] == values[:-1])
        return np.bincount(pair[1:][twice], minlength=len(left))

    def _gathered(self, texts: Integers, sizes: Integers) -> Hashes:
        lengths = sizes[texts]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return self.values[np.repeat(self.starts[texts], lengths) + within]


def _mixed(values: Hashes) -> Hashes:
    """Spread 42-bit codes over 64 bits (the finaliser of MurmurHash3)."""
    for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    mixed: Hashes = values ^ (values >> np.uint64(33))
    return mixed


def near_pairs(texts: list[str], threshold: float, seed: int = 1) -> pd.DataFrame:
    """Pairs of texts whose shingle sets have a Jaccard similarity of at least ``threshold``: columns left < right, similarity.

    Enough pairs to connect what is similar, not all of them: in a large bucket of look-alikes each is compared with two others.
    Texts are positions in ``texts``; equal texts pair too.
    """
    shingles = Shingles.of(texts)
    codes = np.unique(np.concatenate([np.zeros(0, np.int64), *_candidates(shingles, seed)]))
    left, right = codes // len(shingles) if len(shingles) else codes, codes % max(len(shingles), 1)
    similarity = shingles.similarities(left, right)
    near = similarity >= threshold
    return pd.DataFrame({"left": left[near], "right": right[near], "similarity": similarity[near]})


def _candidates(shingles: Shingles, seed: int) -> Iterator[Integers]:
    """Pair codes left * n + right of texts that share a band of their signatures."""
    count = len(shingles)
    width = PERMUTATIONS // BANDS
    bands = np.empty((BANDS, count), np.uint64)
    blocks = range(0, count, BLOCK)
    for first in tqdm(blocks, desc="signatures", unit=" blocks", delay=2, disable=None):
        last = min(first + BLOCK, count)
        signatures = shingles.signatures(first, last, seed).astype(np.uint64)
        for band in range(BANDS):
            columns = signatures[:, band * width : (band + 1) * width]
            bands[band, first:last] = _mixed(
                _mixed(columns[:, 0] << np.uint64(32) | columns[:, 1]) ^ (columns[:, 2] << np.uint64(32) | columns[:, 3])
            )
    alone = np.diff(shingles.starts) == 0
    for band in range(BANDS):
        yield _bucket_pairs(bands[band], alone, count)


def _bucket_pairs(keys: Hashes, alone: npt.NDArray[np.bool_], count: int) -> Integers:
    order = np.argsort(keys, kind="stable").astype(np.int64)
    order = order[~alone[order]]
    sorted_keys = keys[order]
    new = np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]]) if len(order) else np.zeros(0, bool)
    first = np.flatnonzero(new)
    sizes = np.diff(np.append(first, len(order)))
    place = np.arange(len(order)) - np.repeat(first, sizes)
    size = np.repeat(sizes, sizes)
    codes = []
    for step in range(1, ALL_PAIRS):
        # each text with the one `step` places later in its bucket: all pairs of small buckets, the neighbours of large ones
        at = np.flatnonzero((place + step < size) & ((size <= ALL_PAIRS) | (step == 1)))
        codes.append(order[at] * count + order[at + step])
    at = np.flatnonzero((size > ALL_PAIRS) & (place > 1))
    codes.append(order[at - place[at]] * count + order[at])
    return np.unique(np.concatenate(codes))


def components(count: int, pairs: pd.DataFrame) -> Integers:
    """A label for each of ``count`` texts, equal for texts that pairs connect."""
    graph = coo_array((np.ones(len(pairs), bool), (pairs["left"], pairs["right"])), shape=(count, count))
    labels: Integers = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels
