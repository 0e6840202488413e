"""Phone numbers: mobile, landline and service lines, in groups, in Chinese digits, or short after a word for them."""

import re
from collections.abc import Iterator

from legalqa.data.numerals import AFTER, AMOUNT, BEFORE, CHINESE, GAP, SPACED, run

HINT = run(7, f"0-9０-９{CHINESE}")

# A mobile number may touch a word such as tel or Email, but not a single letter, which makes it the number of a thing.
_BEFORE = r"(?<![0-9])(?<![0-9][.\-])(?<![^A-Za-z][A-Za-z])(?<!^[A-Za-z])(?<!第)(?<!¥)(?<!￥)(?<!\$)"
_AFTER = r"(?![0-9])(?!\.[0-9])(?![A-Za-z](?![A-Za-z]))"
_MOBILE = re.compile(
    rf"{_BEFORE}(?:\+?0{{0,2}}86{GAP})?1[3-9]"
    rf"(?:(?:{GAP}\d){{9}}|\d{SPACED}\d{{4}}{SPACED}\d{{4}}|\d\d{SPACED}\d{{3}}{SPACED}\d{{4}}){AMOUNT}{_AFTER}(?![十百千])"
)
_LANDLINE = re.compile(
    rf"{BEFORE}(?:(?:\+?86[ \-]?)?\(?0(?:10|2\d|[3-9]\d{{2}})\)?[ \-]{{1,2}}\d{{3,4}}[ \-]?\d{{4}}(?:[ \-转]{{1,2}}\d{{1,6}})?"
    rf"|\(0(?:10|2\d|[3-9]\d{{2}})\)[ \-]?[2-8]\d{{2,3}}[ \-]?\d{{4}}|0(?:10|2\d)[2-8]\d{{7}}|0[3-9]\d{{2}}[2-8]\d{{6,7}}"
    rf"|[48]00[ \-]?\d{{3,4}}[ \-]?\d{{3,4}}){AMOUNT}{AFTER}"
)
_CALLED = re.compile(
    r"(?:电话|座机|固话|手机号?码?|热线|传真|致电|拨打|来电|联系方式|联系我|call|tel|电联)[^0-9，。；,;\n]{0,8}?"
    rf"(?P<secret>{BEFORE}[2-8]\d{{2,3}}[ \-]?\d{{4}}){AMOUNT}{AFTER}",
    re.I,
)
_PUBLIC_LINES = frozenset(("95", "96", "12", "11"))


def search(text: str) -> Iterator[tuple[int, int]]:
    """The spans of all phone numbers, in a text whose wide characters are plain ones."""
    for pattern in (_MOBILE, _LANDLINE):
        yield from (match.span() for match in pattern.finditer(text))
    yield from (match.span("secret") for match in _CALLED.finditer(text) if match["secret"][:2] not in _PUBLIC_LINES)
