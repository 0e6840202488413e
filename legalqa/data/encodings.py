"""Which encoding a text file is in. A candidate is decoded strictly from first byte to last; nothing is ever replaced."""

import codecs
from typing import IO

from legalqa.problems import Problem, UserError

BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
BLOCK = 1 << 20
LEVEL_ONE_SHARE = 0.8


def detect(stream: IO[bytes], where: str, declared: str) -> str:
    """The codec that reads ``stream`` without an error. ``declared`` is "auto" or a codec name, which is then only checked.

    UTF-8 goes first, because Chinese UTF-8 often also decodes as GB18030, to rubbish and without any error; the other way
    round hardly ever happens. Raises UserError naming encoding, byte offset and line when nothing fits.
    """
    if declared != "auto":
        try:
            name = codecs.lookup(declared).name
        except LookupError:
            raise UserError(
                Problem("data.encoding", repr(declared), "auto or a Python codec", "gb18030 reads GBK too")
            ) from None
        name = "utf-8-sig" if name == "utf-8" else name  # a byte order mark must not stick to the first column
        if failure := _failure(stream, name):
            raise UserError(
                Problem(where, f"is not {declared}: {failure}", fix="set data.encoding to auto or to the right one")
            )
        return name
    head = stream.read(4096)
    for mark, name in BOMS:
        if head.startswith(mark):
            if failure := _failure(stream, name):
                raise UserError(
                    Problem(where, f"starts with a {name} byte order mark, but {failure}", fix="export it again as UTF-8")
                )
            return name
    if wide := _utf16_without_mark(head):
        return wide
    utf8 = _failure(stream, "utf-8-sig")
    if not utf8:
        return "utf-8-sig"
    gb18030 = _failure(stream, "gb18030")
    if not gb18030 and _level_one_share(stream) >= LEVEL_ONE_SHARE:
        return "gb18030"
    why = gb18030 or "decodes, but to characters that nobody writes"
    fix = "set data.encoding if it is another one (big5, utf-16 ...), or export it again as UTF-8"
    raise UserError(Problem(where, f"neither UTF-8 ({utf8}) nor GB18030 ({why})", fix=fix))


def _failure(stream: IO[bytes], name: str) -> str:
    """Where and why ``stream`` is not in codec ``name``; an empty string when it is."""
    stream.seek(0)
    decoder = codecs.getincrementaldecoder(name)(errors="strict")
    offset = lines = 0
    while True:
        block = stream.read(BLOCK)
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            at = max(offset + len(block) - len(error.object) + error.start, 0)
            stream.seek(0)
            line = stream.read(at).count(b"\n") + 1
            return f"byte {at}, line {line}: {error.reason}"
        offset += len(block)
        lines += block.count(b"\n")
        if not block:
            return ""


def _utf16_without_mark(head: bytes) -> str | None:
    """UTF-16 whose byte order mark got lost: its ASCII (delimiters, line ends) has a zero byte on one side."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    many = len(head) // 100 + 1
    if odd > many and even == 0:
        return "utf-16-le"
    if even > many and odd == 0:
        return "utf-16-be"
    return None


def _level_one_share(stream: IO[bytes]) -> float:
    """Share of the characters beyond ASCII that are signs or among the 3,755 common ones of GB 2312; 0.98 in real text."""
    stream.seek(0)
    text = stream.read(BLOCK).decode(
        "gb18030", errors="ignore"
    )  # only measured, never kept; the block may end inside a character
    wide = [character for character in text if ord(character) > 0x7F]
    if not wide:
        return 1.0
    return sum(_is_level_one(character) for character in wide) / len(wide)


def _is_level_one(character: str) -> bool:
    raw = character.encode("gb18030")
    return len(raw) == 2 and (0xA1 <= raw[0] <= 0xA9 or 0xB0 <= raw[0] <= 0xD7) and raw[1] >= 0xA1
