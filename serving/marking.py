"""Generated text while it is sent: citations that do not hold are marked on the spot, and endless repetition is found out."""

import re

from legalqa.knowledge.citations import check
from legalqa.knowledge.statutes import Statutes

MARKS = {"repealed": "〔已废止〕", "unknown": "〔未查到〕"}
_NUMERALS = "0-9０-９零〇一二两三四五六七八九十百千"
_OPEN_END = re.compile(rf"[第条款项之（）()\s{_NUMERALS}]{{1,64}}\Z")  # may still grow into a citation, or into a longer one
_TAIL = re.compile(rf"(?:\s*第?\s*[{_NUMERALS}]+\s*款)?(?:\s*第?\s*[（(]?\s*[{_NUMERALS}]+\s*[）)]?\s*项)?")

_HAN = re.compile(r"[一-鿿]")


def loops(text: str) -> bool:
    """Whether ``text`` ends in a loop, as small models do: the same words, of up to 60 characters, over and over.

    Six times at least, and 24 characters at least; rows of signs (a line, dots) are none.
    """
    for size in range(1, 61):
        words = text[-size:]
        if text.endswith(words * max(6, 24 // size)):
            return bool(_HAN.search(words))
    return False


class Marker:
    """Takes text as it is generated, gives it back with marks; holds back only what may be half a citation."""

    def __init__(self, statutes: Statutes | None, mark: bool = True) -> None:
        self._statutes = statutes if mark else None
        self.raw = ""
        self._sent = 0

    def feed(self, text: str) -> str:
        """The next part of the marked text; "" while a citation may be under way."""
        self.raw += text
        open_end = _OPEN_END.search(self.raw, self._sent)
        return self._release(open_end.start() if open_end else len(self.raw))

    def finish(self) -> str:
        """What was held back."""
        return self._release(len(self.raw))

    def _release(self, end: int) -> str:
        begin, self._sent = self._sent, max(end, self._sent)
        part = self.raw[begin : self._sent]
        if self._statutes is None or "条" not in part:
            return part
        marked, done = "", begin
        for checked in check(self.raw[: self._sent], self._statutes):
            mark = MARKS.get(checked.status)
            if mark and begin < checked.citation.end <= self._sent:
                tail = _TAIL.match(self.raw, checked.citation.end, self._sent)
                at = tail.end() if tail else checked.citation.end
                marked += self.raw[done:at] + mark
                done = at
        return marked + self.raw[done : self._sent]
