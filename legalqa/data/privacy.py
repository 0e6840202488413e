"""Personal data in text, found by kind and masked. Statute and case numbers, amounts and dates stay as they are.

Sources: GB 11643 (resident identity number: date and check digit, ISO 7064 MOD 11-2), ISO/IEC 7812 (bank cards: Luhn),
YD/T 1127 style numbering (mobile 1[3-9] + 9 digits, area code + 7 or 8 digits), GA 36 (number plates).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd
from tqdm import tqdm

from legalqa.data import phones
from legalqa.data.cells import matches, where
from legalqa.data.numerals import AFTER, AMOUNT, BEFORE, DOCKET, WIDE, Search, run, spelled

_MAIL_HOST = r"(?:qq|foxmail|163|126|139|189|yeah|sina|sohu|gmail|outlook|hotmail|yahoo|aliyun)"
# Also abc#qq.com (but C# is a language) and abc(at)qq.com; 。 as a dot only before a common ending, because it ends sentences.
_EMAIL = re.compile(
    rf"[A-Za-z0-9][A-Za-z0-9._%+\-]{{0,63}}(?:\s?@\s?|(?<=[A-Za-z0-9][A-Za-z0-9._%+\-])#(?={_MAIL_HOST}[.。])|\s?[(\[【]\s?at\s?[)\]】]\s?)"
    r"[A-Za-z0-9](?:(?:[A-Za-z0-9\-]{0,62}\.)+[A-Za-z]{2,10}|[A-Za-z0-9\-]{0,62}。(?:com|cn|net|org)(?:[.。]cn)?)(?![A-Za-z])",
    re.I,
)
_ID_18 = re.compile(
    rf"{BEFORE}[1-9]\d{{5}}[ \-]?(?:18|19|20)\d{{2}}[ \-]?(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[ \-]?\d{{3}}[\dXx]{AFTER}"
)
_ID_15 = re.compile(rf"{BEFORE}[1-9]\d{{5}}\d{{2}}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{{3}}{AFTER}")
_ID_WORD = re.compile(r"身份证(?:号码?|件号)?[^0-9]{0,8}$")
_CARD = re.compile(rf"{BEFORE}[1-9]\d{{3}}(?:[ \-]?\d{{4}}){{2}}(?:[ \-]?\d{{4}}(?:[ \-]?\d{{1,3}})?|[ \-]?\d{{1,3}}){AFTER}")
_CARD_WORD = re.compile(r"(?:卡号|账号|帐号|账户|帐户|银行卡|储蓄卡|信用卡|工资卡|收款卡|尾号|开户行)[^0-9]{0,12}$")
_QQ = re.compile(
    rf"(?:(?<![A-Za-z])[qQ]{{1,2}}|扣扣|企鹅|财付通)(?:群|号码?|账号|帐号|联系|咨询|群号)*\s*(?:是|为|:|：|\(|（)?\s*(?P<secret>[1-9]\d{{4,10}}){AMOUNT}{AFTER}"
)
_WECHAT = re.compile(
    r"(?:微信|薇信|威信|徽信|卫星(?=号|:)|加\s?卫星|[加+]\s?v(?=[\s:])|(?<![A-Za-z])(?:v信|vx|v\+|wx|wechat|weixin))"
    r"(?:公众号|群|号码?|账号|帐号|同号|联系|咨询|我|加)*\s*(?:是|为|:|：|\(|（|搜)?\s*"
    rf"(?P<secret>[A-Za-z][A-Za-z0-9_\-]{{5,19}}|\d{{5,11}}{AMOUNT})(?![A-Za-z0-9_\-])",
    re.I,
)
_PLATE = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使][A-HJ-NP-Z][ ·•.\-]?"
    r"(?:[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳领]|[DABCEFGHJK][A-HJ-NP-Z0-9][0-9]{4}|[0-9]{5}[DABCEFGHJK])(?![A-Za-z0-9])"
)
# A place has a name: no word that stands between a sentence and its address, neither inside it nor, still less, in front.
_NO_PLACE = "的了在到于是有我你他她它们和与及买卖住把被将从向给对为位至往去来说称叫做座套间某各每该本条第号致导址籍"
_NO_START = "家内外月日年元居邻现货单经过由收"
_PLACE = rf"(?:(?![{_NO_PLACE}])[\u4e00-\u9fffA-Za-z])"
_NUMBER = r"(?:[甲乙丙丁]?\d{1,5}(?:[\-之]\d{1,4})?|[一二三四五六七八九十百]{1,5})"
_DOOR = r"(?:(?:[A-Za-z]?\d{1,4}[A-Za-z]?|[A-Z]|[一二三四五六七八九十]{1,3})(?:号楼|栋|幢|座|单元|层|楼|室|号|户|门))"
_ADDRESS = re.compile(
    rf"(?![{_NO_START}])(?:{_PLACE}{{2,8}}?(?:省|自治区|市))?(?:{_PLACE}{{1,7}}?(?:市|区|县|旗|州))?(?:{_PLACE}{{1,7}}?(?:镇|乡|街道))?"
    rf"(?:{_PLACE}{{1,8}}?(?:大街|大道|胡同|路|街|巷|弄|里|道)(?:[东西南北中一二三四五六七八]段)?{_NUMBER}(?:号|弄)(?!文|令|公告|线|楼道|公路|车)"
    rf"(?:{_PLACE}{{0,10}}?{_DOOR})*"
    rf"|{_PLACE}{{1,10}}?(?:小区|花园|家园|公寓|大厦|广场|新村|苑|城|村|社区|庄园|山庄|府|里){_PLACE}{{0,6}}?\d{{1,4}}(?:号楼|栋|幢|座)(?:{_PLACE}{{0,3}}?{_DOOR})*"
    rf"|{_PLACE}{{1,8}}?(?:小区|花园|家园|公寓|大厦|新村|苑){_DOOR}{{2,}}"
    rf"|{_PLACE}{{1,8}}?(?:村|屯|社区|庄)(?:{_PLACE}{{0,6}}?{_NUMBER}组)?{_NUMBER}号(?!楼|文|线|地块|令))"
)


@dataclass(frozen=True, order=True)
class Found:
    """One piece of personal data: text[start:end]."""

    start: int
    end: int
    kind: str


def find(text: str) -> list[Found]:
    """All personal data of a text, in order, not overlapping."""
    plain = text.translate(WIDE)  # one character for one, so that positions stay
    found: list[Found] = []
    taken = [match.span() for match in DOCKET.finditer(plain)]
    for name, kind in KINDS.items():
        if not _HINTS[name].search(text):
            continue
        for start, end in kind.search(plain):
            if all(end <= first or last <= start for first, last in taken):
                found.append(Found(start, end, name))
                taken.append((start, end))
    return sorted(found)


def mask(text: str) -> str:
    """The text with each piece of personal data replaced by its kind, such as [电话]."""
    return _replaced(text, find(text))


def _replaced(text: str, found: list[Found]) -> str:
    for item in reversed(found):
        text = text[: item.start] + KINDS[item.kind].mask + text[item.end :]
    return text


def _id_cards(text: str) -> Iterator[tuple[int, int]]:
    """18 digits with a right check digit, or right after the word for it; 15 digits only there."""
    for match in _ID_18.finditer(text):
        digits = re.sub(r"[ \-]", "", match.group())
        if _checked(digits) or _ID_WORD.search(text, 0, match.start()):
            yield match.span()
    yield from (
        match.span() for match in _ID_15.finditer(text) if _ID_WORD.search(text, 0, match.start()) or _dated(match.group())
    )


def _checked(digits: str) -> bool:
    """ISO 7064 MOD 11-2 over the first 17 digits."""
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(digits[:17]))
    return digits[17].upper() == "10X98765432"[total % 11]


def _dated(digits: str) -> bool:
    """Whether an old 15-digit number stands for a province and a day that exist."""
    try:
        date(1900 + int(digits[6:8]), int(digits[8:10]), int(digits[10:12]))
    except ValueError:
        return False
    return 11 <= int(digits[:2]) <= 65 and int(digits[6:8]) > 0


def _bank_cards(text: str) -> Iterator[tuple[int, int]]:
    """16 to 19 digits that pass Luhn and begin like a card, or that follow a word for it."""
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        named = _CARD_WORD.search(text, 0, match.start())
        if 16 <= len(digits) <= 19 and (named or (digits[0] in "3456" and _luhn(digits))):
            yield match.span()


def _luhn(digits: str) -> bool:
    doubled = (int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _secrets(pattern: re.Pattern[str]) -> Search:
    def search(text: str) -> Iterator[tuple[int, int]]:
        yield from (match.span("secret") for match in pattern.finditer(text))

    return search


def _spans(pattern: re.Pattern[str]) -> Search:
    def search(text: str) -> Iterator[tuple[int, int]]:
        yield from (match.span() for match in pattern.finditer(text))

    return search


@dataclass(frozen=True)
class Kind:
    """How one kind is masked and found. A text that ``hint`` (RE2) does not match holds none; it is the cheap test in front."""

    mask: str
    hint: str
    search: Search


# In this order: what an earlier kind takes, a later one leaves alone.
KINDS: dict[str, Kind] = {
    "email": Kind("[邮箱]", r"[@＠#＃]|[(（\[［【]\s?[aAａＡ][tTｔＴ]", _spans(_EMAIL)),
    "wechat": Kind("[微信号]", r"(?i)[微薇威徽]信|卫星|[加+＋]\s?[vｖ]|[vｖ][信xｘ+＋]|wx|wechat|weixin", _secrets(_WECHAT)),
    "qq": Kind("[QQ号]", r"[qQｑＱ]|扣扣|企鹅|财付通", spelled(_secrets(_QQ))),
    "id_card": Kind("[身份证号]", run(14), _id_cards),
    "bank_card": Kind("[银行卡号]", run(13), _bank_cards),
    "phone": Kind("[电话]", phones.HINT, spelled(phones.search)),
    "plate": Kind("[车牌号]", r"[A-ZＡ-Ｚ][·•\-. ]?[A-Z0-9Ａ-Ｚ０-９]{4}", _spans(_PLATE)),
    "address": Kind(
        "[地址]",
        r"[路街道巷弄里村屯庄组区苑园寓厦城府场][^，。；,;\n]{0,12}[0-9０-９一二三四五六七八九十](?:号|栋|幢|弄|室|单元|座|组|层|楼)"
        r"|[区苑园寓][A-Z]",
        _spans(_ADDRESS),
    ),
}
_HINTS = {name: re.compile(kind.hint) for name, kind in KINDS.items()}


def holds_any(column: pd.Series) -> pd.Series:
    """Which cells hold personal data."""
    return where(column, _any(KINDS), lambda text: bool(find(text)))


def _any(kinds: Iterable[str]) -> str:
    return "|".join(f"(?:{KINDS[name].hint})" for name in kinds)


def mask_column(column: pd.Series, kinds: Sequence[str]) -> tuple[pd.Series, dict[str, list[int]]]:
    """A column with the data of these kinds masked, and the record numbers by kind."""
    suspects = column[matches(column, _any(kinds))] if kinds else column[:0]
    records: dict[str, list[int]] = {kind: [] for kind in kinds}
    masked: dict[int, str] = {}
    for record, text in tqdm(
        zip(suspects.index.tolist(), suspects, strict=True),
        total=len(suspects),
        desc="masking",
        unit=" texts",
        delay=2,
        disable=None,
    ):
        found = [item for item in find(text) if item.kind in records]
        if found:
            masked[record] = _replaced(text, found)
            for kind in {item.kind for item in found}:
                records[kind].append(record)
    column = column.copy()
    column.loc[list(masked)] = list(masked.values())
    return column, records
