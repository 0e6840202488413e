"""Guesses at the next tokens: what followed the last few in the text so far, else in the answers that the model learnt from.

Answers quote their question and their passages, small models repeat themselves, and a tuned model writes like its examples.
Reading a few guessed tokens costs hardly more than reading one, since a step mostly waits for the weights; guesses that prove
wrong are dropped, so greedy answers stay the same, token by token (with int8 weights; with others a sum may differ in its last
bits). Prompt lookup, and REST: retrieval-based speculative decoding, He et al. 2024, here with the most frequent follower in
place of whole retrieved passages.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
KEY = 3  # tokens that must agree; in the answers learnt from, at most
MOST_TOKENS = 500_000  # of these answers: some 25 MB, half a second to count
SHARE = 0.15  # of what follows: a rarer follower is not worth the row that reads it
_BITS = 21  # of a token id: three fit into 63


class Phrases:
    """Which token follows the last three most often in a body of texts; where these are new, the last two, or the last one."""

    def __init__(self, texts: Iterable[Sequence[int]]) -> None:
        """Count the followers in ``texts``, token ids each; of several equally frequent ones the smallest id counts."""
        arrays = [np.asarray(text, dtype=np.int64) for text in texts]
        self._tables: list[tuple[int, Ids, Ids]] = []  # tokens in a key, the keys, the follower of each
        for size in range(KEY, 0, -1):
            longer = [array for array in arrays if len(array) > size]
            if longer:
                keys = np.concatenate([_keys(array[:-1], size) for array in longer])
                followers = np.concatenate([array[size:] for array in longer])
                self._tables.append((size, *_most_frequent(keys, followers)))

    @classmethod
    def of(cls, texts: Iterable[str], encode: Callable[[str], Sequence[int]]) -> "Phrases":
        """The phrases of the first `MOST_TOKENS` tokens of ``texts``."""
        kept: list[Sequence[int]] = []
        room = MOST_TOKENS
        for text in texts:
            kept.append(encode(text)[:room])
            room -= len(kept[-1])
            if not room:
                break
        return cls(kept)

    def after(self, tokens: Sequence[int]) -> int | None:
        """The likeliest token after ``tokens``, of which the last three count; None where nothing follows often."""
        for size, keys, followers in self._tables:
            if len(tokens) >= size:
                key = _keys(np.asarray(tokens[-size:], dtype=np.int64), size)[0]
                at = int(np.searchsorted(keys, key))
                if at < len(keys) and keys[at] == key:
                    return int(followers[at])
        return None


def _keys(tokens: Ids, size: int) -> Ids:
    """One number for each run of ``size`` tokens."""
    keys: Ids = np.stack([tokens[n : len(tokens) - size + 1 + n] << _BITS * n for n in range(size)]).sum(0)
    return keys


def _most_frequent(keys: Ids, followers: Ids) -> tuple[Ids, Ids]:
    """The distinct ``keys``, sorted, and each one's most frequent follower, where that is frequent enough to be guessed."""
    order = np.lexsort((followers, keys))
    keys, followers = keys[order], followers[order]
    begins = np.flatnonzero((np.diff(keys, prepend=-1) != 0) | (np.diff(followers, prepend=-1) != 0))
    counts = np.diff(begins, append=len(keys))
    keys, followers = keys[begins], followers[begins]
    order = np.lexsort((-counts, keys))
    first = np.flatnonzero(np.diff(keys[order], prepend=-1))
    often = counts[order][first] > SHARE * np.add.reduceat(counts[order], first)
    best = order[first][often]
    return keys[best], followers[best]


class Drafts:
    """The text of one answer, prompt first, and where each run of `KEY` tokens last ended in it."""

    def __init__(self, token_ids: Sequence[int], phrases: Phrases | None = None) -> None:
        self._phrases = phrases
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}  # key -> position of the token that followed it
        for token in token_ids:
            self.append(token)

    def append(self, token: int) -> None:
        """Take the next token."""
        if len(self._ids) >= KEY:
            self._after[tuple(self._ids[-KEY:])] = len(self._ids)
        self._ids.append(token)

    def guess(self, most: int) -> list[int]:
        """Up to ``most`` tokens that may follow; fewer where the last tokens are new."""
        at = self._after.get(tuple(self._ids[-KEY:]))
        guesses = [] if at is None else self._ids[at : at + most]
        while self._phrases and len(guesses) < most:
            token = self._phrases.after([*self._ids[-KEY:], *guesses])
            if token is None:
                break
            guesses.append(token)
        return guesses
