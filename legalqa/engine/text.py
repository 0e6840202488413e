"""Token ids -> text as it comes: never half a character, nothing of a stop string; in the end the same as decoded at once."""

from collections.abc import Callable, Sequence

BROKEN = "\ufffd"  # what a decoder shows for bytes that make no character, or none yet


class TextStream:
    """Turns one answer's tokens into pieces of text. ``stopped`` becomes true when a stop string has come up.

    The whole answer is decoded at every token: decoders look at neighbours, and 500 tokens take 0.1 ms.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = [text for text in stop if text]
        self._ids: list[int] = []
        self._given = 0  # characters handed out
        self.stopped = False

    def push(self, token: int) -> str:
        """Take a token; return the text that is certain now, often none."""
        self._ids.append(token)
        text = self._text()
        return self._give(text, len(text) - max((_overlap(text, stop) for stop in self._stop), default=0))

    def finish(self) -> str:
        """The rest of the text, now that no token follows. Empty after a stop string."""
        text = self._text()
        return self._give(text, len(text))

    def _text(self) -> str:
        """All whole characters so far. (A character's first bytes, shown as broken, vanish when it is complete.)"""
        return self._decode(self._ids).replace(BROKEN, "")

    def _give(self, text: str, end: int) -> str:
        if self.stopped:
            return ""
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped = True
            end = min(found)
        piece = text[self._given : end]
        self._given = max(self._given, end)
        return piece


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that is a beginning of ``stop``."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)


def writable(text: str) -> str:
    """Without half characters (lone surrogates), which JSON can hold and UTF-8 can't."""
    return text.encode("utf-8", "replace").decode()
