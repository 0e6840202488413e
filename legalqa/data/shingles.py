"""Texts as sets of hashed character pairs, flat in numpy: MinHash signatures by rensa, true similarities of pairs."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rensa import RMinHash
from tqdm import tqdm

Integers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint64]

BLOCK = 10_000  # texts handled at once: what stands in memory as Python objects
CODE_BITS = 32  # above it the place of a text in its block; two pairs of one text fall together once in ten million texts


class Shingles:
    """The distinct character pairs of many texts, hashed: those of text i are ``values[starts[i]:starts[i + 1]]``, sorted.

    Pairs, because Chinese words have two characters and a rewording changes few of them.
    """

    def __init__(self, values: npt.NDArray[np.uint32], starts: Integers) -> None:
        self.values = values
        self.starts = starts
        self.sizes = np.diff(starts)

    @classmethod
    def of(cls, texts: pd.Series) -> "Shingles":
        """All pairs of neighbouring characters of every text, vectorised over blocks of texts."""
        values, counts = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)]
        for start in tqdm(range(0, len(texts), BLOCK), desc="shingles", unit=" blocks", delay=2, disable=None):
            block = texts.iloc[start : start + BLOCK].to_numpy()
            lengths = np.fromiter(map(len, block), np.int64, len(block))
            characters = np.frombuffer("".join(block).encode("utf-32-le"), np.uint32).astype(np.uint64)
            owner = np.repeat(np.arange(len(block), dtype=np.uint64), lengths)
            inside = owner[:-1] == owner[1:]
            pairs = mixed((characters[:-1] << np.uint64(21)) | characters[1:]) >> np.uint64(64 - CODE_BITS)
            keys = distinct((owner[:-1] << np.uint64(CODE_BITS) | pairs)[inside])
            values.append(keys.astype(np.uint32))
            counts.append(np.bincount((keys >> np.uint64(CODE_BITS)).astype(np.int64), minlength=len(block)))
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(counts))])
        return cls(np.concatenate(values), starts)

    def __len__(self) -> int:
        return len(self.sizes)

    def signatures(self, first: int, last: int, permutations: int, seed: int) -> npt.NDArray[np.uint32]:
        """MinHash signatures of texts first..last-1, one row a text."""
        offsets = (self.starts[first : last + 1] - self.starts[first]).astype(np.uint64)
        hashes = mixed(self.values[self.starts[first] : self.starts[last]].astype(np.uint64))
        matrix: Any = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, permutations, seed)
        return np.array(matrix.to_rows(), dtype=np.uint32)

    def similarities(self, left: Integers, right: Integers) -> npt.NDArray[np.float64]:
        """Jaccard similarity of pairs of texts. Texts without a shingle are similar to nothing."""
        shared = np.zeros(len(left), np.int64)
        for start in tqdm(range(0, len(left), BLOCK), desc="similarities", unit=" blocks", delay=2, disable=None):
            span = slice(start, start + BLOCK)
            shared[span] = self._shared(left[span], right[span])
        union = self.sizes[left] + self.sizes[right] - shared
        return np.divide(shared, union, out=np.zeros(len(left)), where=union > 0)

    def _shared(self, left: Integers, right: Integers) -> Integers:
        """How many codes both texts of each pair have: codes that stand twice under the number of their pair."""
        keys = np.sort(np.concatenate([self._numbered(left), self._numbered(right)]))
        twice = keys[1:][keys[1:] == keys[:-1]]
        return np.bincount((twice >> np.uint64(CODE_BITS)).astype(np.int64), minlength=len(left))

    def _numbered(self, texts: Integers) -> Codes:
        """The codes of some texts one after another, each with its text's place in ``texts`` above it."""
        lengths = self.sizes[texts]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)
        numbered: Codes = places << np.uint64(CODE_BITS) | self.values[np.repeat(self.starts[texts], lengths) + within]
        return numbered


def distinct(values: Codes) -> Codes:
    """Sorted values, each once (several times faster here than np.unique, which hashes)."""
    ordered = np.sort(values)
    once: Codes = ordered[np.concatenate([np.ones(min(len(ordered), 1), bool), ordered[1:] != ordered[:-1]])]
    return once


def mixed(values: Codes) -> Codes:
    """Spread codes over 64 bits (the finaliser of MurmurHash3)."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values = (values ^ (values >> np.uint64(33))) * np.uint64(factor)
    result: Codes = values ^ (values >> np.uint64(33))
    return result
