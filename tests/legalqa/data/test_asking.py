"""Title and question become one text, each word said once."""

import pandas as pd
import pytest

from legalqa.data.asking import join, joined, key, keys


@pytest.mark.parametrize(
    ("title", "question", "asked"),
    [
        ("离婚", "财产怎么分？", "离婚\n财产怎么分？"),
        ("离婚怎么办？", "", "离婚怎么办？"),
        ("", "离婚怎么办？", "离婚怎么办？"),
        ("", "", ""),
        ("离婚怎么办？", "离婚怎么办？", "离婚怎么办？"),
        ("离婚怎么办", "离婚怎么办？ ", "离婚怎么办？ "),
        ("我和他结婚三年，现在", "我和他结婚三年，现在要离婚，怎么办？", "我和他结婚三年，现在要离婚，怎么办？"),
        ("请问离婚怎么办理？", "离婚怎么办理", "请问离婚怎么办理？"),
        ("公司降薪怎么维护合法", "权益？可以不签字吗？", "公司降薪怎么维护合法\n权益？可以不签字吗？"),
        ("？？？", "怎么办", "怎么办"),
    ],
)
def test_join(title: str, question: str, asked: str) -> None:
    assert join(title, question) == asked


def test_columns_join_without_a_word_for_nothing() -> None:
    texts = joined(pd.Series(["甲", None, None], dtype="str"), pd.Series([None, "乙", None], dtype="str"))
    assert texts.fillna("").tolist() == ["甲", "乙", ""]
    assert texts.isna().tolist() == [False, False, True]


def test_key_forgets_blanks_width_case_and_punctuation() -> None:
    assert key("ＡＢ１ 怎么办？\n") == key("ab1怎么办") == "ab1怎么办"
    assert key("怎么办一") != key("怎么办二")


def test_columns_have_the_same_keys_as_texts() -> None:
    texts = ["ＡＢ１ 怎么办？\n", "“引号”、（括号）——破折", "①㈠ ½ Ⅷ", "x_y-z", "", "한글ひらカナ", "e\u0301 é"]
    column = pd.Series([*texts, None], dtype="str")
    assert keys(column).tolist() == [*map(key, texts), ""]
    assert keys(pd.concat([column, column], ignore_index=True)).tolist() == [*map(key, texts), ""] * 2
