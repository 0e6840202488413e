"""ROUGE-1, ROUGE-2 and ROUGE-L as F1 (Lin, 2004), over tokens that the caller chooses and names.

n-grams count as often as they occur in both texts. (rouge-chinese, which LawBench uses, takes each n-gram once for short
texts and builds its LCS table in Python; `legalqa.evaluation.benchmarks` uses it where published figures must come out.)
"""

from collections import Counter
from collections.abc import Sequence


def rouge_n(prediction: Sequence[str], reference: Sequence[str], n: int) -> float:
    """F1 over n-grams, 0 to 1."""
    ours, theirs = _grams(prediction, n), _grams(reference, n)
    return _f1((ours & theirs).total(), ours.total(), theirs.total())


def rouge_l(prediction: Sequence[str], reference: Sequence[str]) -> float:
    """F1 over the longest common subsequence, 0 to 1."""
    return _f1(longest_common_subsequence(prediction, reference), len(prediction), len(reference))


def longest_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Its length, by bit-parallel dynamic programming (Hyyrö, 2004): a whole row of the table is one big integer."""
    places: dict[str, int] = {}
    for place, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full
    for token in other:
        matches = row & places.get(token, 0)
        row = ((row + matches) | (row - matches)) & full
    return len(one) - row.bit_count()


def _grams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1))


def _f1(common: int, ours: int, theirs: int) -> float:
    return 2 * common / (ours + theirs) if common else 0.0
