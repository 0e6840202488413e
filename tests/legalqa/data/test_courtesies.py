"""Courtesies that many replies share are cut out; what only one says, and what answers, stays."""

import pandas as pd

from legalqa.data.courtesies import cut, cut_column, shared

THANKS = "感谢您的提问。"
ADVERT = "温馨提示：可与我联系面洽。"
LAW = "协商不成的，可以向法院起诉。"
REPLIES = pd.Series(
    [f"{THANKS}第{n}种情形应当赔偿损失。{LAW}\n{ADVERT}" for n in range(4)] + ["感谢大家，赔偿标准是双倍工资。", THANKS, None],
    index=range(11, 18),
    dtype="str",
)


def test_only_courtesies_above_the_limit_are_shared() -> None:
    assert shared(REPLIES, 3) == {THANKS, ADVERT}
    assert shared(REPLIES, 4) == {THANKS}
    assert not shared(REPLIES, 5)


def test_they_are_cut_and_the_answer_stays() -> None:
    replies, changed = cut_column(REPLIES, 3)
    assert replies.loc[11] == f"第0种情形应当赔偿损失。{LAW}"
    assert replies.loc[15] == REPLIES.loc[15]
    assert replies.loc[16] == ""
    assert replies.isna().tolist() == [False] * 6 + [True]
    assert changed.tolist() == [11, 12, 13, 14, 16]


def test_a_text_without_them_is_left_to_the_letter() -> None:
    text = "  第一行 \n\n第二行。 "
    assert cut(text, {THANKS}) == text
