"""The split holds: nothing crosses, nothing moves, sizes come out, leaks are found."""

import hashlib
from collections import Counter

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legalqa.data.splitting import leakage, place, require_clean, require_filled
from legalqa.params import SplitParams
from legalqa.problems import UserError


def _params(**changes: object) -> SplitParams:
    given = {
        "train": 0.8,
        "dev": 0.1,
        "test": 0.1,
        "key": "k",
        "exact_below": 200,
        "leak_threshold": 0.8,
        "benchmarks": [],
        **changes,
    }
    return SplitParams.model_validate(given)


def _names(count: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest()[:16] for number in range(count)]


SHARES = st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20)).map(
    lambda parts: {name: part / sum(parts) for name, part in zip(("train", "dev", "test"), parts, strict=True)}
)


@given(st.randoms(use_true_random=False), st.integers(200, 400), st.integers(0, 200), SHARES)
@settings(max_examples=25, deadline=None)
def test_no_group_moves_when_others_come_go_or_change_places(
    chance: object, count: int, more: int, shares: dict[str, float]
) -> None:
    params = _params(**shares)
    groups = _names(count)
    before = place(groups, params)
    grown = groups + _names(count + more)[count:]
    chance.shuffle(grown)  # type: ignore[attr-defined]
    after = place(grown, params)
    assert {group: after[group] for group in groups} == before
    fewer = grown[: max(200, len(grown) // 2)]
    assert place(fewer, params) == {group: after[group] for group in fewer}


@given(st.integers(3, 199), SHARES)
@settings(max_examples=50, deadline=None)
def test_small_sets_come_out_within_one_group_of_their_shares(count: int, shares: dict[str, float]) -> None:
    params = _params(**shares)
    sizes = Counter(place(_names(count), params).values())
    assert sum(sizes.values()) == count
    for name, share in shares.items():
        assert sizes[name] >= 1
        if all(part * count >= 1 for part in shares.values()):
            assert abs(sizes[name] - share * count) <= 1


@given(st.permutations(_names(40)))
@settings(max_examples=20, deadline=None)
def test_small_sets_do_not_depend_on_the_order(groups: list[str]) -> None:
    assert place(groups, _params()) == place(_names(40), _params())


def test_large_sets_come_near_their_shares() -> None:
    sizes = Counter(place(_names(20_000), _params()).values())
    assert sizes["train"] == pytest.approx(16_000, rel=0.02)
    assert sizes["test"] == pytest.approx(2_000, rel=0.1)


def test_another_key_gives_another_split() -> None:
    assert place(_names(300), _params()) != place(_names(300), _params(key="other"))


def test_too_few_groups_are_refused_with_the_numbers() -> None:
    with pytest.raises(UserError, match=r"2 question group\(s\).*at least 3"):
        place(_names(2), _params())
    assert sorted(place(_names(3), _params()).values()) == ["dev", "test", "train"]


def _frame(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["question", "group", "split"])
    return frame.assign(record=range(1, len(frame) + 1))


CLEAN = [
    ("公司拖欠三个月工资应该怎么办", "a", "train"),
    ("房东不退租房押金怎么维权", "b", "test"),
    ("离婚后孩子的抚养权归谁", "c", "dev"),
]


def test_clean_splits_pass() -> None:
    report = leakage(_frame(CLEAN), {"exam": ["交通事故怎么赔"]}, _params())
    require_clean(report)
    assert report["near_duplicate_count"] == 0


@pytest.mark.parametrize(
    ("row", "benchmark", "said"),
    [
        (("别的问题完全不同", "a", "test"), [], "group a: stands in more than one split"),
        (("公司拖欠三个月工资应该怎么办呢", "d", "test"), [], r"records 1 and 4: are alike \(0\.9\d+\) in train and test"),
        (
            ("毫不相干的一个提问", "d", "train"),
            ["离婚后，孩子的抚养权归谁？"],
            "benchmark exam: 1 of its questions",
        ),
    ],
)
def test_each_leak_is_found_and_named(row: tuple[str, str, str], benchmark: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        require_clean(leakage(_frame([*CLEAN, row]), {"exam": benchmark}, _params()))


def test_split_that_the_hash_leaves_empty_is_refused_with_the_numbers() -> None:
    with pytest.raises(UserError, match="none of 4 question groups falls into"):
        require_filled(place(_names(4), _params(exact_below=0)))
    require_filled(place(_names(4), _params()))


def test_benchmark_question_is_found_in_the_title_or_the_question_alone_but_no_short_title_is_one() -> None:
    rows = [
        *CLEAN,
        ("离婚纠纷\n丈夫转移了财产，还能追回来吗？", "d", "train"),
        ("借款没有借条能起诉吗？\n只有转账。", "e", "train"),
    ]
    asked = ["丈夫转移了财产还能追回来吗", "借款没有借条，能起诉吗？", "离婚纠纷", "只有转账"]
    assert leakage(_frame(rows), {"exam": asked}, _params())["benchmarks"] == {"exam": 2}
