"""Near-duplicate texts by MinHash: candidates from rensa's signatures, every candidate pair then checked exactly.

rensa (Rust) turns a flat buffer of shingle hashes into signatures in one call, about a hundred times faster than a Python
loop over datasketch; only so do a million questions take seconds. Source of the method: Broder 1997 (MinHash); Leskovec,
Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3 (banding).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from legalqa.data.shingles import BLOCK, Codes, Integers, Shingles, distinct, mixed

BANDS = 25
WIDTH = 5  # a pair of similarity 0.8 shares a band with probability 0.99995, of 0.7 with 0.990, of 0.3 with 0.06
ALL_PAIRS = 16  # in a bucket up to this size every pair is checked, in a larger one each text against the first and the next
DOUBT = 0.15  # a pair whose estimated similarity is this far below the threshold (3.6 standard errors) is not checked


def near_pairs(texts: pd.Series, threshold: float, seed: int = 1) -> pd.DataFrame:
    """Pairs of texts whose shingle sets have a Jaccard similarity of at least ``threshold``: columns left < right, similarity.

    Enough pairs to connect what is similar, not all of them: in a large bucket of look-alikes each is compared with two others.
    Texts are positions in ``texts``; equal texts pair too.
    """
    shingles = Shingles.of(texts)
    count = max(len(shingles), 1)
    signatures = _signatures(shingles, seed)
    codes = np.zeros(0, np.uint64)
    for found in _candidates(signatures, shingles.sizes == 0):
        codes = distinct(np.concatenate([codes, _likely(found, signatures, threshold - DOUBT)]))
    left, right = (codes // np.uint64(count)).astype(np.int64), (codes % np.uint64(count)).astype(np.int64)
    similarity = shingles.similarities(left, right)
    near = similarity >= threshold
    return pd.DataFrame({"left": left[near], "right": right[near], "similarity": similarity[near]})


def components(count: int, pairs: pd.DataFrame) -> Integers:
    """A label for each of ``count`` texts, equal for texts that pairs connect."""
    graph = coo_array((np.ones(len(pairs), bool), (pairs["left"], pairs["right"])), shape=(count, count))
    labels: Integers = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def _signatures(shingles: Shingles, seed: int) -> npt.NDArray[np.uint16]:
    """One column a text, the low halves of its signature: enough to tell values apart, half the memory."""
    signatures = np.empty((BANDS * WIDTH, len(shingles)), np.uint16)
    for first in tqdm(range(0, len(shingles), BLOCK), desc="signatures", unit=" blocks", delay=2, disable=None):
        last = min(first + BLOCK, len(shingles))
        signatures[:, first:last] = shingles.signatures(first, last, BANDS * WIDTH, seed).T.astype(np.uint16)
    return signatures


def _candidates(signatures: npt.NDArray[np.uint16], alone: npt.NDArray[np.bool_]) -> Iterator[Codes]:
    """Pair codes left * count + right of texts that share a band of their signatures, band by band."""
    count = signatures.shape[1]
    texts = np.flatnonzero(~alone).astype(np.uint64)
    bits = np.uint64(count.bit_length())  # of a position; the other bits of a code hold the band's key (44 for a million texts)
    for band in tqdm(range(0, len(signatures), WIDTH), desc="near-duplicates", unit=" bands", delay=2, disable=None):
        key = np.zeros(count, np.uint64)
        for row in signatures[band : band + WIDTH]:
            key = mixed(key ^ row)
        ordered = np.sort(key[texts] >> bits << bits | texts)  # by key and position: several times faster than argsort
        yield _bucket_pairs((ordered & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64), ordered >> bits, count)


def _bucket_pairs(order: Integers, keys: Codes, count: int) -> Codes:
    """Pairs within runs of equal keys, which stand in order; ``order`` names their texts, those of one key by position."""
    first = np.flatnonzero(np.concatenate([np.ones(min(len(order), 1), bool), keys[1:] != keys[:-1]]))
    sizes = np.diff(np.append(first, len(order)))
    place = np.arange(len(order)) - np.repeat(first, sizes)
    size = np.repeat(sizes, sizes)
    crowded = np.flatnonzero(size > 1)
    codes = []
    for step in range(1, ALL_PAIRS):
        # each text with the one `step` places later in its bucket: all pairs of small buckets, the neighbours of large ones
        at = crowded[place[crowded] + step < size[crowded]]
        at = at if step == 1 else at[size[at] <= ALL_PAIRS]
        codes.append(order[at] * count + order[at + step])
    at = crowded[(size[crowded] > ALL_PAIRS) & (place[crowded] > 1)]
    codes.append(order[at - place[at]] * count + order[at])
    return np.concatenate(codes).astype(np.uint64)


def _likely(codes: Codes, signatures: npt.NDArray[np.uint16], least: float) -> Codes:
    """The pairs whose signatures agree in at least this share of their values, which estimates the similarity."""
    count = np.uint64(signatures.shape[1])
    agree = np.zeros(len(codes), np.uint8)
    left, right = codes // count, codes % count
    for row in signatures:
        agree += row[left] == row[right]
    return codes[agree >= least * len(signatures)]
