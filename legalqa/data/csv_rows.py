"""CSV records with their physical lines. A lost quote is found and named instead of swallowing the records after it."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

csv.field_size_limit(1 << 30)  # a long field is a matter for the length rules, not a parser error

RecordTest = Callable[[list[str]], bool]

DELIMITERS = (",", "\t", ";", "|")
SURE_LINES = 4  # so many lines of one field that all have the width of a record show a lost quote, where no cell tells


class NotText(Enum):
    """Stands for a value that no text can be made of, and says why."""

    NESTED = "holds an object or a list, not text"
    BYTES = "holds bytes that are not UTF-8"
    HALF = "holds half a character (a lone surrogate such as \\ud800)"


Cell = str | NotText | None  # None: the field is not there


class Row(NamedTuple):
    """One data record: its number (first = 1), the physical line it starts on (0: none is known), its cells, or its trouble."""

    record: int
    line: int
    cells: Sequence[Cell]
    trouble: str = ""


class Lines:
    """Physical lines with their numbers; the lines of a record that went wrong can be put back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._source = iter(lines)
        self._back: list[str] = []
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._source)
        self.number += 1
        self.taken.append(line)
        return line

    def put_back_all_but_first(self) -> None:
        """Go on after the first line of the record just taken."""
        self.number -= len(self.taken) - 1
        self._back.extend(reversed(self.taken[1:]))


def guess_delimiter(header: str, score: Callable[[list[str]], int]) -> str:
    """The delimiter under which the header line shows most of the wanted columns; a comma when none does."""
    found = {d: next(csv.reader([header], delimiter=d), []) for d in DELIMITERS}
    return max(DELIMITERS, key=lambda d: (score(found[d]), len(found[d]), -DELIMITERS.index(d)))


def read_rows(lines: Iterable[str], delimiter: str, is_record: RecordTest | None) -> Iterator[Row]:
    """Yield the header as record 0, then every record, in order, the broken ones included.

    ``is_record`` says whether a line by itself reads as a whole record, by a cell that tells (None: no cell does); such
    lines inside one quoted field mean that its closing quote is lost. Reading then goes on with the next physical line, so
    that one lost quote costs one record. Limit: without such a cell a quote that is lost and closed again within less than
    four lines reads as a lawful field of several lines, and one whose lines all have the commas of a record as a lost one.
    """
    source = Lines(lines)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    header: list[str] = []
    record = -1
    while True:
        source.taken.clear()
        start = source.number + 1
        try:
            cells = next(reader)
            trouble = ""
        except StopIteration:
            return
        except csv.Error:
            cells, trouble = [], "a quote opened here is not closed properly"
            reader = csv.reader(source, delimiter=delimiter, strict=True)
        if not trouble and _is_blank(cells):  # an empty line is no record
            continue
        record += 1
        header = header or cells
        width = len(header)
        if not trouble and len(cells) != width:
            trouble = f"has {len(cells)} fields, the header {width}"
        elif record and (cells == header or (cells and cells[0].startswith("\ufeff") and _unmarked(cells) == header)):
            trouble = "repeats the header, as when two files were joined"
        taken = len(source.taken)
        if not trouble and taken > 1 and _swallowed(source.taken, delimiter, width, is_record):
            trouble = "a quote opened here is not closed"
        if trouble and taken > 1:
            source.put_back_all_but_first()
            trouble = (
                f"a quote opened here is not closed before line {start + taken - 1}; the lines between would become one field"
            )
        yield Row(record, start, cells, trouble)


def _unmarked(cells: list[str]) -> list[str]:
    return [cells[0].lstrip("\ufeff"), *cells[1:]]


def _is_blank(cells: list[str]) -> bool:
    """Whether a line holds nothing: no cell, or one of blanks and end-of-file marks (Ctrl-Z of old editors)."""
    return not cells or (len(cells) == 1 and not cells[0].strip("\x1a\ufeff \t\u3000"))


def _swallowed(taken: list[str], delimiter: str, width: int, is_record: RecordTest | None) -> bool:
    """Whether the physical lines of one record are records themselves: most of the inner ones, or the first and the last.

    Where no cell tells, any line of an answer with enough commas looks like a record, so there all of four or more must.
    """
    inner = [line for line in taken[1:-1] if line.strip()]
    bare = [line.rstrip("\r\n").replace('"', "").split(delimiter) for line in (taken[0], *inner, taken[-1])]
    if is_record is None:
        return len(bare) >= SURE_LINES and all(len(cells) == width for cells in bare)
    whole = sum(is_record(next(csv.reader([line], delimiter=delimiter), [])) for line in inner)
    if whole > 0 and 2 * whole >= len(inner):
        return True
    return is_record(bare[0]) and is_record(bare[-1])
