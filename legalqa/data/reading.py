"""Any supported file as one table of text, record by record, with what could not be read."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from legalqa.data import columns, csv_rows, encodings, json_rows
from legalqa.data.cells import TEXT
from legalqa.data.csv_rows import Row
from legalqa.files import sha256
from legalqa.params import DataParams
from legalqa.problems import Problem, UserError

TRUE_WORDS = frozenset({"1", "true", "t", "yes", "y", "是", "对", "真", "√"})
FALSE_WORDS = frozenset({"0", "false", "f", "no", "n", "否", "不是", "假", "×"})
TEXT_COLUMNS = ("title", "question", "reply", "is_best")
BLANK = r"(?s)^[\pZ\pC]*$"  # separators (blank, U+3000, no-break ...) and controls (zero-width, NUL ...) only
CHUNK = 1 << 16
SHOWN = 20


@dataclass(frozen=True)
class BadRecord:
    """A record that could not be read."""

    record: int
    line: int
    trouble: str


@dataclass(frozen=True)
class Table:
    """What a file holds.

    ``frame`` is indexed by record number (first = 1, broken records left out) and has the columns line (0: unknown),
    title, question, reply, is_best (text; empty cells are null) and best (boolean; null where is_best
    does not read as yes or no).
    """

    frame: pd.DataFrame
    sha256: str
    encoding: str
    delimiter: str
    notes: list[str] = field(default_factory=list)
    bad: list[BadRecord] = field(default_factory=list)

    @property
    def records(self) -> int:
        """All records of the file, the broken ones included."""
        return len(self.frame) + len(self.bad)

    @property
    def tells_best(self) -> bool:
        """Whether the file says anything about which replies are best."""
        return bool(self.frame["is_best"].notna().any())


def read_table(params: DataParams) -> Table:
    """Read data.source. Raises UserError when the file is missing, empty or of another form, and for broken records.

    Broken records (a lost quote, too many or too few fields, a bad JSON line) stop everything under ``bad_records: stop``;
    under ``drop`` they are set aside and counted.
    """
    path = Path(params.source)
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "no such file"
        raise UserError(Problem(f"data.source: {path}", found, fix="give the path of the file of questions and answers"))
    if path.stat().st_size == 0:
        raise UserError(Problem(str(path), "the file is empty (0 bytes)", "a header and records"))
    builder = _Builder(params, str(path))
    try:
        encoding, delimiter, rows = _rows(path, params)
        builder.typed = not delimiter
        for row in tqdm(rows, desc=f"reading {path.name}", unit=" records", mininterval=1, delay=2, disable=None):
            builder.add(row)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            Problem(
                str(path),
                f"the packed file is damaged: {error}",
                "gzip, whole",
                "copy it again, or drop .gz if it is not packed",
            )
        ) from None
    if len(builder) + len(builder.bad) != builder.last:
        raise ValueError(f"{builder.last} records read, but {len(builder)} taken and {len(builder.bad)} broken")
    if builder.bad and params.bad_records == "stop":
        raise UserError(_listed(builder.bad, path), f"{path}: {len(builder.bad)} broken record(s), nothing was read")
    if not len(builder):
        raise UserError(Problem(str(path), f"0 records ({len(builder.bad)} broken)", "at least one record under the header"))
    return Table(builder.frame(), sha256(path), encoding, delimiter, builder.notes, builder.bad)


def read_best(value: str) -> bool | None:
    """The one reading of is_best: 1, 1.0, true, yes, 是 ... are True, 0, 0.0, false, no, 否 ... False, all else None."""
    word = columns.fold(value)
    if word not in TRUE_WORDS and word not in FALSE_WORDS:
        try:
            word = f"{float(word):g}"
        except ValueError:
            return None
    return True if word in TRUE_WORDS else False if word in FALSE_WORDS else None


def _rows(path: Path, params: DataParams) -> tuple[str, str, Iterator[Row]]:
    """Encoding, delimiter (both empty where the format has none) and the rows, the header first."""
    suffix = (Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix).lower()
    if suffix not in (".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet"):
        expected = ".csv, .tsv, .jsonl, .json (each also .gz) or .parquet"
        raise UserError(Problem(f"data.source: {path}", f"unknown file type {suffix!r}", expected, "export it as CSV in UTF-8"))
    if suffix == ".parquet":
        return "", "", _parquet_rows(path)
    with _binary(path) as raw:
        encoding = encodings.detect(raw, str(path), params.encoding)
    if suffix == ".jsonl":
        return encoding, "", json_rows.read_jsonl(_lines(path, encoding), str(path))
    if suffix == ".json":
        return encoding, "", json_rows.read_array("".join(_lines(path, encoding)), str(path))
    first = next((line for line in _lines(path, encoding) if line.strip()), "")
    if not first:
        raise UserError(Problem(str(path), "the file holds only blank lines", "a header and records"))
    if first.lower().startswith("sep="):
        fix = "delete that line; the delimiter is found by itself, or named in data.delimiter"
        raise UserError(Problem(f"{path} line 1", "Excel's line 'sep=' stands before the header", "the header", fix))
    delimiter = params.delimiter
    if delimiter == "auto":
        delimiter = csv_rows.guess_delimiter(first, lambda header: columns.score(params.columns, header))
    is_record = _record_test(params, next(iter(csv_rows.read_rows([first], delimiter, None))))
    return encoding, delimiter, csv_rows.read_rows(_lines(path, encoding), delimiter, is_record)


def _binary(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked when its name ends in .gz."""
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def _lines(path: Path, encoding: str) -> Iterator[str]:
    """Physical lines with their line ends as they are."""
    with _binary(path) as raw, io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="") as text:
        yield from text


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        fix = "copy or export it again, or give it its right name"
        raise UserError(Problem(str(path), f"not a whole Parquet file: {error}", "Parquet", fix)) from None
    yield Row(0, 0, file.schema_arrow.names)
    record = 0
    batches = file.iter_batches(CHUNK)
    while True:
        try:
            batch = next(batches, None)
            columns_ = [json_rows.texts(column.to_pylist()) for column in batch.columns] if batch is not None else []
        except (OSError, ValueError, OverflowError) as error:  # damaged pages, dates beyond Python's
            found = f"can't be read after record {record}: {error}"
            raise UserError(Problem(str(path), found, fix="write the file again, with the wanted columns as text")) from None
        if batch is None:
            return
        for cells in zip(*columns_, strict=True):
            record += 1
            yield Row(record, 0, cells)  # Parquet has no lines


def _record_test(params: DataParams, header: Row) -> "csv_rows.RecordTest | None":
    """Whether a physical line is a whole record: as many cells as the header has, and a readable is_best in its place.

    None for a file without is_best: no other cell tells a record from a line of an answer.
    """
    names = [columns.fold(str(name)) for name in header.cells]
    best = params.columns.is_best
    if best is None or columns.fold(best) not in names:
        return None
    position = names.index(columns.fold(best))

    def is_record(cells: list[str]) -> bool:
        return len(cells) == len(names) and read_best(cells[position]) is not None

    return is_record


class _Builder:
    """Collects rows in Arrow chunks, so that a million records never stand in memory as Python strings."""

    def __init__(self, params: DataParams, where: str) -> None:
        self._params = params
        self._where = where
        self._positions: dict[str, int] = {}
        self._picked: Callable[[Sequence[csv_rows.Cell]], Any] = tuple
        self._rows: list[tuple[int, int, tuple[str, ...]]] = []
        self._chunks: list[pa.Table] = []
        self._count = 0
        self.last = 0  # the number of the last record: what is taken and what is broken must add up to it
        self.notes: list[str] = []
        self.bad: list[BadRecord] = []
        self.typed = True  # cells may be other things than text; those of a CSV can't

    def __len__(self) -> int:
        return self._count

    def add(self, row: Row) -> None:
        if row.record == 0:
            if row.cells is json_rows.CONVERSATION_HEADER:  # ready-made conversations have their own names
                self._positions = {"question": 0, "reply": 1}
            else:
                header = [str(name) for name in row.cells]
                self._positions, self.notes = columns.locate(self._params.columns, header, self._where, self.typed)
            self._picked = itemgetter(*self._positions.values())
            return
        self.last = row.record
        if trouble := row.trouble or (self._unusable(row.cells) if self.typed else ""):
            self.bad.append(BadRecord(row.record, row.line, trouble))
            return
        self._rows.append((row.record, row.line, self._picked(row.cells)))
        self._count += 1
        if len(self._rows) == CHUNK:
            self._flush()

    def _unusable(self, cells: Sequence[csv_rows.Cell]) -> str:
        """What is wrong with the wanted cells."""
        if all(isinstance(cells[at], str) for at in self._positions.values()):
            return ""
        names = columns.wanted(self._params.columns)
        wanted = {names.get(role, role): cells[at] for role, at in self._positions.items()}
        wrong = [f"field {name} {cell.value}" for name, cell in wanted.items() if isinstance(cell, csv_rows.NotText)]
        absent = [name for name, cell in wanted.items() if cell is None]
        return "; ".join([f"has no field {', '.join(absent)}"] * bool(absent) + wrong)

    def _flush(self) -> None:
        records, lines, cells = zip(*self._rows, strict=True)
        arrays = [pa.array(column, pa.large_string()) for column in zip(*cells, strict=True)]
        text = {role: self._emptied(array) for role, array in zip(self._positions, arrays, strict=True)}
        self._chunks.append(pa.table({"record": pa.array(records, pa.int64()), "line": pa.array(lines, pa.int64()), **text}))
        self._rows.clear()

    def _emptied(self, array: pa.Array) -> pa.Array:
        """Cells that hold nothing (only blanks, or a word that exports write for it) become null; line ends become LF."""
        words = pa.array(self._params.empty_words, pa.large_string())
        nothing = pc.or_(pc.match_substring_regex(array, BLANK), pc.is_in(pc.utf8_trim_whitespace(array), words))
        return pc.if_else(nothing, None, pc.replace_substring(array, "\r\n", "\n"))

    def frame(self) -> pd.DataFrame:
        if self._rows:
            self._flush()
        table = pa.concat_tables(self._chunks)
        frame: pd.DataFrame = table.to_pandas(types_mapper={pa.large_string(): TEXT}.get).set_index("record")
        for name in TEXT_COLUMNS:
            if name not in frame:
                frame[name] = pd.Series(None, index=frame.index, dtype="str")
        readings = {value: read_best(value) for value in frame["is_best"].dropna().unique()}
        frame["best"] = frame["is_best"].map(readings).astype("boolean")
        return frame[["line", *TEXT_COLUMNS, "best"]]


def _listed(bad: list[BadRecord], path: Path) -> list[Problem]:
    """The first broken records, and how many more there are."""
    fix = "mend the line, or set data.bad_records: drop to leave such records out and count them"
    problems = [Problem(f"{path}{f' line {b.line},' if b.line else ''} record {b.record}", b.trouble) for b in bad[:SHOWN]]
    more = f"and {len(bad) - SHOWN} more" if len(bad) > SHOWN else f"{len(bad)} in all"
    return [*problems, Problem(str(path), more, fix=fix)]
