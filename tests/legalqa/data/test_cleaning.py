"""The cleaning rules one by one, and what holds for all of them."""

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from legalqa.data.cleaning import RULES, clean, clean_column

DEFAULT = ["html", "control", "full_width", "furniture", "repeats", "whitespace"]


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("html", "赔偿&lt;5000元&nbsp;吗", "赔偿<5000元\xa0吗"),
        ("html", "<p>第一段</p><p>第二段<br/>第三行</p>", "\n第一段\n第二段\n第三行\n"),
        ("html", '<div class="a"><b>重点</b></div><script>alert(1)</script>', "\n重点\n"),
        ("html", "金额<5000元且>100元", "金额<5000元且>100元"),
        ("html", "a<b，c>d", "a<b，c>d"),
        ("html", "&amp;nbsp;和&#20320;好", "\xa0和你好"),
        ("html", "A&B公司；AT&T", "A&B公司；AT&T"),
        ("html", "<!-- 广告 -->正文", "正文"),
        ("html", "赔偿多少&#2", "赔偿多少"),
        ("html", "见&#附件", "见&#附件"),
        ("control", "还清所有的款项\ufffd%", "还清所有的款项"),
        ("control", "我\ufffd爱\ufffd你", "我\ufffd爱\ufffd你"),
        ("control", "前\x00后\x0b\u200b\ufeff。\u202e", "前后。"),
        ("full_width", "电话１２３，ＡＢｃ（甲）？", "电话123，ABc（甲）？"),
        ("furniture", "律师解答：可以起诉。", "可以起诉。"),
        ("furniture", "答：可以。", "可以。"),
        ("furniture", "答、可以。", "可以。"),
        ("furniture", "理由如下：第一", "理由如下：第一"),
        ("furniture", "；我咨询一下，可以吗", "我咨询一下，可以吗"),
        ("furniture", ":：。", ":：。"),
        ("furniture", "根据《义务教育法》第X条第Ｘ款规定，应当", "根据《义务教育法》规定，应当"),
        ("furniture", "根据第五条规定", "根据第五条规定"),
        ("greeting", "您好，可以起诉。", "可以起诉。"),
        ("greeting", "你好！根据民法典", "根据民法典"),
        ("greeting", "您好律师", "您好律师"),
        ("repeats", "急急急！！！怎么办？？？谢谢。。。。", "急急急！怎么办？谢谢。"),
        ("repeats", "可以起诉。。建议保留证据。", "可以起诉。建议保留证据。"),
        ("repeats", "什么……情况", "什么……情况"),
        ("whitespace", "\u3000\u3000第一行 \t 后\r\n\r\n\r\n\r\n第二行\xa0", "第一行 后\n\n第二行"),
        ("whitespace", "第一行\n第二行", "第一行\n第二行"),
    ],
)
def test_each_rule(rule: str, before: str, after: str) -> None:
    assert clean(before, [rule]) == after


MESSY = st.text(st.sampled_from(list("您好，。！？ \u3000\n\r\t\x00\u200b<p>br/&nbsp;lt;１２Ａ答：、律师解a5元")), max_size=40)


@given(MESSY)
@settings(deadline=None)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = clean(text, ["control", "full_width", "whitespace"])
    assert clean(once, ["control", "full_width", "whitespace"]) == once


@example(["\u3000;5", "\x0b\u2003您好，x", "\x1c\x85。x"])
@given(st.lists(MESSY, min_size=1, max_size=5))
@settings(deadline=None, max_examples=50)
def test_columns_are_cleaned_like_texts(texts: list[str]) -> None:
    column, _ = clean_column(pd.Series(texts, dtype="str"), list(RULES))
    assert [text if isinstance(text, str) else "" for text in column] == [clean(text, list(RULES)) for text in texts]


def test_changed_records_are_told_by_rule_and_nothing_left_is_null() -> None:
    column, changed = clean_column(pd.Series(["<p>甲</p>", "乙", "\x00", None], index=[4, 5, 6, 7], dtype="str"), DEFAULT)
    assert column.fillna("").tolist() == ["甲", "乙", "", ""]
    assert column.isna().tolist() == [False, False, True, True]
    assert {rule: list(records) for rule, records in changed.items() if len(records)} == {
        "html": [4],
        "control": [6],
        "whitespace": [4],
    }
