from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legalqa.evaluation.edits import Edit, _alignments, _merged, _trimmed, counts, edits, f_beta

SENTENCES = st.text(alphabet="甲乙丙丁", max_size=9)


def strange(old: str, new: str) -> float:
    """No two characters are alike: replacing costs more than a deletion, less than a deletion and an insertion."""
    return 1.4


def alike(old: str, new: str) -> float:
    return 0.25


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("上诉证据", "上述证据", {(1, 2, "述")}),
        ("证据", "证据确实", {(2, 2, "确实")}),
        ("确实充分", "充分", {(0, 2, "")}),
        ("证 据", "证据", {}),
        ("证据", "没有错误", {}),
        ("证据充分", "证充据分", {(1, 3, "充据")}),  # turned around: cheaper than replacing both
        ("公安机关", "", {(0, 4, "无")}),  # a blank prediction stands for 无
    ],
)
def test_one_cheapest_correction(source: str, target: str, expected: set[Edit]) -> None:
    assert edits(source, target, strange) == Counter(dict.fromkeys(expected, 1))


def test_what_costs_less_is_taken() -> None:
    assert set(edits("指控实施", "指控事实", strange)) == {(2, 2, "事"), (3, 4, "")}  # 1 + 1 against 1.4 + 1.4
    assert set(edits("指控实施", "指控事实", alike)) == {(2, 4, "事实")}


def test_every_cheapest_correction_counts() -> None:
    found = edits("甲", "乙", lambda _old, _new: 2.0)  # as dear as deleting and inserting, in either order
    assert found == Counter({(0, 1, ""): 2, (0, 1, "乙"): 1, (1, 1, "乙"): 1, (0, 0, "乙"): 1})
    assert counts(found, found) == (5, 0, 0)


def test_equal_costs_stay_equal_behind_a_replacement() -> None:
    assert (1.4 + 3) - 1 != (1.4 + 1) + 1  # added up in another order, one of the two corrections would be lost
    found = edits("甲乙丙丁", "戊丙丁乙", strange)
    assert found == Counter({(0, 1, "戊"): 1, (1, 4, "丙丁乙"): 1, (0, 2, "戊"): 1, (4, 4, "乙"): 1})


def test_what_moved_over_something_is_one_turn() -> None:
    assert set(edits("明天我去法院起诉", "我去法院起诉明天", strange)) == {(0, 8, "我去法院起诉明天")}


def test_too_many_corrections_are_scored_as_nothing_said() -> None:
    found = edits("甲" * 12, "乙" * 12, lambda _old, _new: 2.0)
    assert {new for _, _, new in found} == {"无"}


@given(SENTENCES, SENTENCES)
def test_each_cheapest_correction_leads_to_the_target(source: str, target: str) -> None:
    for steps in _alignments(source, target, strange) or ():
        text = source
        for first, last, new in reversed(list(_trimmed(_merged(steps, source, target), source, target))):
            text = text[:first] + new + text[last:]
        assert text == target


def test_counts_are_weighted_as_the_official_scorer_does() -> None:
    ours = Counter({(0, 1, "甲"): 2, (3, 4, "乙"): 3})
    theirs = Counter({(0, 1, "甲"): 1, (5, 6, ""): 4})
    assert counts(ours, theirs) == (1, 3, 4)


def test_f_beta_counts_precision_twice_as_much() -> None:
    assert f_beta(1, 0, 1) == pytest.approx(1.25 * 0.5 / (0.25 + 0.5))
    assert f_beta(0, 3, 2) == 0
    assert f_beta(0, 0, 0) == 1
