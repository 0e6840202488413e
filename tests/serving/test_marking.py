"""Marks are the same however the text is cut into pieces, and nothing but marks is added."""

import pytest
from hypothesis import given, settings, strategies

from serving.marking import MARKS, Marker, loops
from tests.serving.bundles import statutes

LAWS = statutes()
LAWS_CITED = "《中华人民共和国民法典》 民法典 《旧规定》 《环境保护法》"
ARTICLES = "第一千零七十九条 第680条 第一条 第九千条 第二款 第（一）项 之一"
PARTS = strategies.sampled_from([*LAWS_CITED.split(), *ARTICLES.split(), *"，。和三第条（1十\n", "依照"])


def marked(text: str, cuts: list[int]) -> str:
    marker = Marker(LAWS)
    out, begin = "", 0
    for cut in sorted({min(cut, len(text)) for cut in cuts} | {len(text)}):
        out += marker.feed(text[begin:cut])
        begin = cut
    return out + marker.finish()


@settings(max_examples=200, deadline=None)
@given(strategies.lists(PARTS, max_size=14).map("".join), strategies.lists(strategies.integers(0, 120), max_size=60))
def test_cuts_change_nothing(text: str, cuts: list[int]) -> None:
    whole = marked(text, [])
    assert marked(text, cuts) == whole
    assert marked(text, list(range(len(text)))) == whole
    for mark in MARKS.values():
        whole = whole.replace(mark, "")
    assert whole == text


def test_marks_stand_behind_the_whole_citation() -> None:
    text = "《环境保护法》第一条第二款规定，民法典第680条、第九千条。"
    assert marked(text, [3, 9, 11, 22, 27]) == "《环境保护法》第一条第二款〔已废止〕规定，民法典第680条、第九千条〔未查到〕。"


def test_only_what_may_be_a_citation_is_held_back() -> None:
    marker = Marker(LAWS)
    assert marker.feed("可以主张") == "可以主张"
    assert marker.feed("，见民法典第") == "，见民法典"
    assert marker.feed("680") == ""
    assert marker.feed("条的") == "第680条的"


def test_without_statutes_or_when_switched_off_text_passes() -> None:
    for marker in (Marker(None), Marker(LAWS, mark=False)):
        assert marker.feed("《环境保护法》第一条。") + marker.finish() == "《环境保护法》第一条。"


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        ("法院判决孩子在父母双方" + "共同生活、" * 6, True),
        ("慢" * 24, True),
        ("慢" * 23, False),
        ("可以起诉。" * 5, False),
        ("可以要求支付二倍工资，也可以申请仲裁。" * 6, True),
        ("……" * 40, False),
        ("|---|---|" * 20, False),
        ("（一）借条；（二）转账记录；（三）聊天记录；（四）录音；（五）证人；（六）其他。", False),
        ("", False),
    ],
)
def test_a_loop_is_words_six_times_on_end(text: str, loop: bool) -> None:
    assert loops(text) == loop
