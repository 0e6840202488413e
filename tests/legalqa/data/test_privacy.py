"""Personal data: precision and recall on sentences written for this test, and what must stay to the letter."""

import re
from pathlib import Path

import pandas as pd
import pytest

from legalqa.data import privacy
from legalqa.data.cells import matches

MARK = re.compile(r"\{(\w+)\|([^}]*)\}")
LINES = Path(__file__).with_name("privacy_sentences.txt").read_text(encoding="utf-8").splitlines()


def _labelled(line: str) -> tuple[str, set[tuple[int, int, str]]]:
    """A sentence without its {kind|text} marks, and the spans they stand for."""
    text, spans = "", set()
    end = 0
    for match in MARK.finditer(line):
        text += line[end : match.start()]
        spans.add((len(text), len(text) + len(match[2]), match[1]))
        text += match[2]
        end = match.end()
    return text + line[end:], spans


SENTENCES = [_labelled(line) for line in LINES]


def _found(text: str) -> set[tuple[int, int, str]]:
    return {(item.start, item.end, item.kind) for item in privacy.find(text)}


def test_there_are_enough_sentences() -> None:
    assert len(SENTENCES) >= 300
    assert {kind for _, spans in SENTENCES for *_, kind in spans} == set(privacy.KINDS)


def test_precision_and_recall_by_exact_span_and_kind() -> None:
    right = wrong = missed = 0
    report = []
    for text, gold in SENTENCES:
        found = _found(text)
        right += len(found & gold)
        wrong += len(found - gold)
        missed += len(gold - found)
        if found != gold:
            report.append(f"{text}: found {sorted(found - gold)}, missed {sorted(gold - found)}")
    precision, recall = right / (right + wrong), right / (right + missed)
    print(f"\n{len(SENTENCES)} sentences, {right + missed} pieces: precision {precision:.3f}, recall {recall:.3f}")  # pytest -s
    assert precision >= 0.98, "\n".join(report)
    assert recall >= 0.98, "\n".join(report)


def test_nothing_personal_stays_after_masking() -> None:
    for text, _ in SENTENCES:
        assert not privacy.find(privacy.mask(text)), text


def test_the_cheap_pattern_misses_nothing_that_the_exact_one_finds() -> None:
    texts = pd.Series([text for text, _ in SENTENCES], dtype="str")
    for name, kind in privacy.KINDS.items():
        hinted = matches(texts, kind.hint)
        missed = [text for text, hit in zip(texts, hinted, strict=True) if not hit and list(kind.search(text))]
        assert not missed, name


def test_spoken_number_in_groups_is_masked_in_texts_and_columns() -> None:
    for number in ("一三八-零零一三-八零零零", "幺三八 零零幺三 八零零零"):
        text = f"打{number}找我"
        assert privacy.mask(text) == "打[电话]找我"
        assert privacy.mask_column(pd.Series([text]), ["phone"])[0].tolist() == ["打[电话]找我"]


def test_case_number_of_eleven_digits_stays_to_the_letter_and_a_phone_called_number_does_not() -> None:
    for kind in ("民初", "刑终", "执", "破", "行申", "民初字第", "执恢"):
        text = f"（2021）京0101{kind}13800138000号"
        assert privacy.mask(text) == text
    assert privacy.mask("当初13800138000号打来过") == "当初[电话]号打来过"


@pytest.mark.parametrize("before", ["签字", "名字", "一行字", "写了几个字", "签字第 "])
def test_phone_after_a_word_that_ends_like_a_docket_is_masked(before: str) -> None:
    assert privacy.mask(f"{before}13800138000号机主") == f"{before}[电话]号机主"


@pytest.mark.parametrize(
    "kind", ["民字", "行字", "产证字", "海执字第", "京房权证海字第 ", "沪房地浦字（2010）第 ", "房产证第 "]
)
def test_numbers_of_old_cases_and_certificates_stay_to_the_letter(kind: str) -> None:
    text = f"{kind}13800138000号"
    assert privacy.mask(text) == text


@pytest.mark.parametrize("pay", ["月薪13000一15000左右", "工资15000一16000不等", "利息13500一18000", "月薪13000 一 15000"])
def test_one_as_a_dash_between_two_amounts_is_no_digit(pay: str) -> None:
    assert privacy.mask(pay) == pay


@pytest.mark.parametrize("number", ["一3九零0零0三4五6", "13八00138000", "一三八零零一三八零零零"])
def test_mixed_digits_of_a_phone_are_masked_all_the_same(number: str) -> None:
    assert privacy.mask(f"打{number}找我") == "打[电话]找我"


def test_one_letter_before_a_hash_is_no_address() -> None:
    assert privacy.mask("我学C#qq.com") == "我学C#qq.com"
    assert privacy.mask("发ab#qq.com和a@qq.com") == "发[邮箱]和[邮箱]"
