import pytest
from hypothesis import given
from hypothesis import strategies as st

from legalqa.knowledge.numerals import article_label, article_number, to_int


@given(st.integers(1, 9999), st.integers(0, 20))
def test_label_and_number_are_inverse(main: int, sub: int) -> None:
    number = f"{main}-{sub}" if sub else str(main)
    assert article_number(article_label(number)) == number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("一千零七十九", 1079),
        ("十", 10),
        ("二十", 20),
        ("一百一十", 110),
        ("１０７９", 1079),
        ("一〇七九", 1079),
        ("两百", 200),
    ],
)
def test_to_int(text: str, value: int) -> None:
    assert to_int(text) == value


@pytest.mark.parametrize("text", ["", "甲", "1a"])
def test_no_numeral(text: str) -> None:
    with pytest.raises(ValueError, match="not a numeral"):
        to_int(text)


def test_spelling_does_not_matter() -> None:
    for label in ("第一百二十条之一", "第120条之一", "第 120 条之 1", "第１２０条之一"):
        assert article_number(label) == "120-1"
