import pytest
from hypothesis import given
from hypothesis import strategies as st

from legalqa.evaluation.edits import edits, f_beta

SENTENCES = st.text(alphabet="甲乙丙丁", max_size=12)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("上诉证据", "上述证据", {(1, 2, "述")}),
        ("指控实施", "指控事实", {(2, 2, "事"), (3, 4, "")}),  # cheaper than replacing two
        ("证据", "证据确实", {(2, 2, "确实")}),
        ("确实充分", "充分", {(0, 2, "")}),
        ("证 据", "证据", {(-1, -1, "")}),
    ],
)
def test_spans(source: str, target: str, expected: set[tuple[int, int, str]]) -> None:
    assert edits(source, target) == expected


@given(SENTENCES, SENTENCES)
def test_edits_applied_give_the_target(source: str, target: str) -> None:
    found = edits(source, target)
    if source == target:
        assert found == {(-1, -1, "")}
        return
    text = source
    for start, end, new in sorted(found, reverse=True):
        text = text[:start] + new + text[end:]
    assert sorted(text) == sorted(target)
    assert len(text) == len(target)


def test_f_beta_counts_precision_twice_as_much() -> None:
    assert f_beta(1, 0, 1) == pytest.approx(1.25 * 0.5 / (0.25 + 0.5))
    assert f_beta(0, 3, 2) == 0
    assert f_beta(0, 0, 0) == 1
