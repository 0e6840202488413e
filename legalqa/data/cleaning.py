"""The one set of cleaning rules: convert applies it to columns, the service to what users type."""

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from tqdm import tqdm

from legalqa.data.cells import apply_where

_TAG_NAMES = (
    "a abbr article b big blockquote body br button center code dd del div dl dt em embed font footer form h1 h2 h3 h4 h5 "
    "h6 head header hr html i iframe img input ins label li link main meta nav nobr object ol option p pre s section select "
    "small source span strike strong style sub sup table tbody td textarea tfoot th thead title tr tt u ul var video wbr"
)
_BREAKS = r"(?:br|p|div|li|tr|h[1-6]|ul|ol|table|blockquote|section|article|dd|dt|hr)"
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_DROPPED = re.compile(r"<!--.*?-->|<(script|style)\b[^>]*>.*?</\1\s*>", re.S | re.I)
_LINE_TAG = re.compile(rf"(?:\s*</?{_BREAKS}(?:\s[^<>]*)?/?>\s*)+", re.I)
_TAG = re.compile(rf"</?(?:{'|'.join(_TAG_NAMES.split())})(?:\s[^<>]*)?/?>", re.I)
_CUT_ENTITY = re.compile(
    r"&#[xX]?[0-9a-fA-F]{0,7}$"
)  # exports cut a text at so many bytes, in the middle of whatever stands there
_CONTROL = re.compile(
    r"\ufffd[%\s]*$|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_SPACES = re.compile(r"[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_LINE_ENDS = re.compile(r"\r\n?|[\u0085\u2028\u2029]")
_RE2_SPACE = r"[\s\v\x1c-\x1f\x{85}\p{Z}]"  # Python's \s; RE2's own knows ASCII only
_FULL_WIDTH = {code: code - 0xFEE0 for span in ((0xFF10, 0xFF1A), (0xFF21, 0xFF3B), (0xFF41, 0xFF5B)) for code in range(*span)}
_FURNITURE = re.compile(
    r"^\s*(?:【?(?:律师|专家|专业)(?:解答|答复|回复|回答|意见|解析)】?|【?(?:网友|用户)?(?:咨询|提问)(?:内容)?】|答案?|回答|解答|回复|问)\s*[:：]\s*"
    r"|^\s*答[、，]\s*|^[\s:：；;，,、。]+(?=\w)|第[XxＸ×]{1,3}条(?:的?第[XxＸ×]{1,3}[款项])*"  # the last: an article left open
)
_REPEATS = re.compile(r"([，！!？；;、~～`])\1+|(。)\2+|([,?])\3{2,}")
_GREETING = re.compile(r"^\s*(?:您好|你好|亲|尊敬的(?:咨询者|网友|用户|客户))(?:[,，。.!！:：;；~～、\s]+|(?=根据|关于|针对))")


def _entities_and_tags(text: str) -> str:
    for _ in range(2):  # pages escaped twice hold &amp;nbsp;
        text = _CUT_ENTITY.sub("", _ENTITY.sub(lambda match: html.unescape(match.group()), text))
    text = _DROPPED.sub("", text)
    return _TAG.sub("", _LINE_TAG.sub("\n", text))


def _whitespace(text: str) -> str:
    lines = [_SPACES.sub(" ", line).strip() for line in _LINE_ENDS.sub("\n", text).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


@dataclass(frozen=True)
class Rule:
    """One cleaning step. ``trigger`` is a cheap RE2 pattern: a text that it does not match is left as it is."""

    trigger: str
    apply: Callable[[str], str]


RULES: dict[str, Rule] = {
    "html": Rule(r"[<&]", _entities_and_tags),
    "control": Rule(
        r"\x{fffd}|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}\x{ad}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}\x{feff}\x{fff9}-\x{fffb}]",
        lambda text: _CONTROL.sub("", text),
    ),
    "full_width": Rule(r"[０-９Ａ-Ｚａ-ｚ]", lambda text: text.translate(_FULL_WIDTH)),
    "furniture": Rule(rf"[:：]|^{_RE2_SPACE}*(?:答[、，]|[；;，,、。])|第[XxＸ×]", lambda text: _FURNITURE.sub("", text)),
    "repeats": Rule(
        r"。。|，，|,,,|！！|!!|？？|\?\?\?|；；|;;|、、|~~|～～|``",
        lambda text: _REPEATS.sub(lambda match: match.group()[0], text),
    ),
    "greeting": Rule(rf"^{_RE2_SPACE}*(?:您好|你好|亲|尊敬的)", lambda text: _GREETING.sub("", text)),
    "whitespace": Rule(
        r"[\t\r\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]|  |\n |\n\n\n| \n|^[ \n]|[ \n]$",
        _whitespace,
    ),
}


def clean(text: str, rules: Sequence[str]) -> str:
    """The text after the named rules, in the order given. Doing it twice changes nothing more."""
    for name in rules:
        text = RULES[name].apply(text)
    return text


def clean_column(column: pd.Series, rules: Sequence[str]) -> tuple[pd.Series, dict[str, pd.Index]]:
    """A column after the named rules, and the record numbers that each rule changed. A text cleaned to nothing becomes null.

    Only the cells that a rule's trigger finds are touched one by one.
    """
    changed: dict[str, pd.Index] = {}
    column = column.copy()
    for name in tqdm(rules, desc=f"cleaning {column.name}", unit=" rules", delay=2, disable=None):
        column, changed[name] = apply_where(column, RULES[name].trigger, RULES[name].apply)
    return column.mask(column == ""), changed
