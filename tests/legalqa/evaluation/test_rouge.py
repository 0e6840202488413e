import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_chinese import Rouge

from legalqa.evaluation.rouge import longest_common_subsequence, rouge_l, rouge_n

TOKENS = st.lists(st.sampled_from("甲乙丙丁"), max_size=40)


def _by_the_table(one: list[str], other: list[str]) -> int:
    lengths = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, j in itertools.product(range(len(one)), range(len(other))):
        equal = one[i] == other[j]
        lengths[i + 1][j + 1] = lengths[i][j] + 1 if equal else max(lengths[i][j + 1], lengths[i + 1][j])
    return lengths[-1][-1]


@given(TOKENS, TOKENS)
def test_the_bits_agree_with_the_table(one: list[str], other: list[str]) -> None:
    assert longest_common_subsequence(one, other) == _by_the_table(one, other)


@given(TOKENS, TOKENS)
def test_bounds_and_symmetry(one: list[str], other: list[str]) -> None:
    for found in (rouge_l(one, other), rouge_n(one, other, 1), rouge_n(one, other, 2)):
        assert 0 <= found <= 1
    assert rouge_l(one, other) == rouge_l(other, one)
    assert rouge_l(one, one) == (1 if one else 0)


def test_known_values() -> None:
    assert rouge_n(["甲", "乙", "乙", "丙"], ["乙", "乙", "丁"], 1) == pytest.approx(2 * 2 / 7)  # both 乙 count
    assert rouge_n(["甲", "乙", "丙"], ["甲", "乙", "丁"], 2) == pytest.approx(2 * 1 / 4)
    assert rouge_l(["甲", "丙", "乙", "丁"], ["甲", "乙", "丁"]) == pytest.approx(2 * 3 / 7)


def test_agrees_with_rouge_chinese_where_no_token_repeats() -> None:
    one, other = list("夫妻可以协议离婚并分割财产"), list("夫妻离婚时财产由双方协议")
    theirs = Rouge().get_scores(" ".join(one), " ".join(other))[0]
    assert rouge_l(one, other) == pytest.approx(theirs["rouge-l"]["f"], abs=1e-6)
    assert rouge_n(one, other, 2) == pytest.approx(theirs["rouge-2"]["f"], abs=1e-6)
