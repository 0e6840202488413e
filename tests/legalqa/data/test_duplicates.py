"""Near-duplicates: every pair above the threshold, none below, whatever else is in the file."""

import random

import numpy as np
import pandas as pd

from legalqa.data.duplicates import components, near_pairs
from legalqa.data.shingles import Shingles

CHARACTERS = [chr(code) for code in range(0x4E00, 0x4E00 + 600)]


def _jaccard(left: str, right: str) -> float:
    a, b = ({text[at : at + 2] for at in range(len(text) - 1)} for text in (left, right))
    return len(a & b) / len(a | b) if a | b else 0.0


def test_exact_similarities() -> None:
    texts = ["甲乙丙丁", "甲乙丙", "丁丙乙甲", "甲", ""]
    left, right = np.triu_indices(len(texts), 1)
    found = Shingles.of(pd.Series(texts)).similarities(left, right)
    assert np.allclose(found, [_jaccard(texts[a], texts[b]) for a, b in zip(left, right, strict=True)])


def test_pairs_are_all_those_above_the_threshold() -> None:
    chance = random.Random(5)
    texts = []
    for _ in range(120):
        text = chance.choices(CHARACTERS, k=40)
        texts.append("".join(text))
        for at in chance.sample(range(40), chance.randrange(1, 9)):
            text[at] = chance.choice(CHARACTERS)
        texts.append("".join(text))
    expected = {(a, b) for a in range(len(texts)) for b in range(a + 1, len(texts)) if _jaccard(texts[a], texts[b]) >= 0.7}
    assert len(expected) > 30
    for seed in (1, 2):
        pairs = near_pairs(pd.Series(texts), 0.7, seed)
        assert set(zip(pairs["left"], pairs["right"], strict=True)) == expected


def test_a_crowd_of_look_alikes_is_one_component_without_all_pairs() -> None:
    texts = [f"房东不退押金应该怎么办才好呢请各位律师帮忙解答一下{CHARACTERS[n]}" for n in range(300)] + [
        "毫不相干的另一个问题"
    ]
    pairs = near_pairs(pd.Series(texts), 0.7)
    labels = components(len(texts), pairs)
    assert len(set(labels[:-1])) == 1
    assert labels[-1] != labels[0]
    assert len(pairs) < 300 * 299 / 2


def test_nothing_and_too_short() -> None:
    assert near_pairs(pd.Series([], dtype="str"), 0.7).empty
    assert near_pairs(pd.Series(["甲", "甲", ""]), 0.7).empty
