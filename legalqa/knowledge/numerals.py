"""Article numbers: 第一千零七十九条, 第1079条 and 第 １０７９ 条 are the same article."""

import re
import unicodedata

_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_UNITS = {"十": 10, "百": 100, "千": 1000}
_LABEL = re.compile(r"第\s*([0-9零〇一二两三四五六七八九十百千]+)\s*条(?:\s*之\s*([0-9一二三四五六七八九十]+))?")


def to_int(text: str) -> int:
    """Value of a numeral under ten thousand, in Chinese (一千零七十九, 一〇七九) or digits of any width.

    Raises ValueError for anything else.
    """
    text = unicodedata.normalize("NFKC", text)
    if text.isdecimal():
        return int(text)
    if not text or any(char not in _DIGITS and char not in _UNITS for char in text):
        raise ValueError(f"not a numeral: {text!r}")
    if not any(char in _UNITS for char in text):
        return int("".join(str(_DIGITS[char]) for char in text))
    total = digit = 0
    for char in text:
        if char in _UNITS:
            total += (digit or 1) * _UNITS[char]
            digit = 0
        else:
            digit = _DIGITS[char]
    return total + digit


def article_number(label: str) -> str:
    """``"1079"`` of 第一千零七十九条, ``"120-1"`` of 第一百二十条之一. Raises ValueError when ``label`` names no article."""
    found = _LABEL.fullmatch(unicodedata.normalize("NFKC", label).strip())
    if found is None:
        raise ValueError(f"names no article: {label!r}")
    main = str(to_int(found[1]))
    return f"{main}-{to_int(found[2])}" if found[2] else main


def article_label(number: str) -> str:
    """第一千零七十九条 of ``"1079"``, 第一百二十条之一 of ``"120-1"``: the form in which laws print it."""
    main, _, sub = number.partition("-")
    label = f"第{_chinese(int(main))}条"
    return f"{label}之{_chinese(int(sub))}" if sub else label


def _chinese(value: int) -> str:
    """A number from 1 to 9999 in Chinese."""
    out = ""
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, value = divmod(value, unit)
        if digit:
            out += "零一二三四五六七八九"[digit] + name
        elif out and not out.endswith("零"):
            out += "零"
    out = out.rstrip("零")
    return out[1:] if out.startswith("一十") else out
