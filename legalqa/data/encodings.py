"""Which encoding a text file is in. A candidate is decoded strictly from first byte to last; nothing is ever replaced."""

import codecs
from typing import IO

from legalqa.problems import Problem, UserError

BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
WIDE = {  # no export needs UTF-32; its first two bytes pass for a mark of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32 (little endian)",
    codecs.BOM_UTF32_BE: "UTF-32 (big endian)",
}
BINARY = {  # what files of another kind begin with
    b"PK\x03\x04": "a ZIP archive or an Excel workbook (.xlsx)",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file (.xls, .doc)",
    b"\x1f\x8b": "gzip",
    b"PAR1": "Parquet",
    b"%PDF": "a PDF",
}
BLOCK = 1 << 20
# Traces of a wrong decoding somewhere before (RE2): replacement characters, Latin-1 pairs, GBK readings of UTF-8.
MOJIBAKE = (
    r"\x{fffd}|锟斤拷|烫烫烫|屯屯屯|[\x{80}-\x{9f}]|[\x{c3}-\x{ef}][\x{a0}-\x{bf}][\x{80}-\x{ff}]"
    r"|锛[屽焛侊寮歿]|銆[佸傚]|鈥[濄滄]|涓€|鐨勶|鏄笉|鍙互|涔熸槸|&#\d+$"
)
# Half of what Chinese legal text is made of, and a fortieth of rubbish; the least share of them that passes for text.
COMMON = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同"
    "现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重"
    "并物手应向头文体政美相见被利什二等产或新己制身果加月话合回特代内信表化老给世位次度门任常先通教儿原东声提立及比员解名真论处走义各入几口认条平"
    "系题活更别打女变四总何电数安少报才结反受目太量再务做接必场件计管期市直资金指许区保至社便决治院请律诉偿款婚租房赔伤责权协议证据"
)
COMMON_SHARE = 0.2


def detect(stream: IO[bytes], where: str, declared: str) -> str:
    """The codec that reads ``stream`` without an error. ``declared`` is "auto" or a codec name, which is then only checked.

    UTF-8 goes first, because Chinese UTF-8 often also decodes as GB18030, to rubbish and without any error; the other way
    round hardly ever happens. Raises UserError naming encoding, byte offset and line when nothing fits.
    """
    if declared != "auto":
        try:
            "a".encode(declared)  # a codec may exist and not be one of text (hex, rot13)
            name = codecs.lookup(declared).name
        except (LookupError, ValueError):
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
    for magic, kind in BINARY.items():
        if head.startswith(magic):
            raise UserError(
                Problem(where, f"is {kind}, not text", "text", "export it as CSV in UTF-8, or give it its right name")
            )
    for mark, kind in WIDE.items():
        if head.startswith(mark):
            raise UserError(Problem(where, f"is {kind}", "UTF-8, GB18030 or UTF-16", "export it again as UTF-8"))
    for mark, name in BOMS:
        if head.startswith(mark):
            if failure := _failure(stream, name):
                raise UserError(
                    Problem(where, f"starts with a {name} byte order mark, but {failure}", fix="export it again as UTF-8")
                )
            return name
    if (wide := _utf16_without_mark(head)) and not _failure(stream, wide):
        return wide
    utf8 = _failure(stream, "utf-8-sig")
    if not utf8:
        return "utf-8-sig"
    gb18030 = _failure(stream, "gb18030")
    if not gb18030 and _common_share(stream) >= COMMON_SHARE:
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
    if max(even, odd) <= len(head) // 100 + 1:
        return None
    if odd > 8 * even:
        return "utf-16-le"
    return "utf-16-be" if even > 8 * odd else None


def _common_share(stream: IO[bytes]) -> float:
    """Share of the Chinese characters that are common ones, in the first block."""
    stream.seek(0)
    text = stream.read(BLOCK).decode("gb18030", errors="ignore")  # measured, never kept; the block may end inside a character
    chinese = [character for character in text if character >= "\u3400"]
    return sum(character in COMMON for character in chinese) / len(chinese) if chinese else 1.0
