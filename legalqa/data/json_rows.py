"""JSON Lines and JSON arrays as records: either one object with named fields a record, or ready-made conversations."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from legalqa.data.csv_rows import Cell, NotText, Row
from legalqa.problems import Problem, UserError
from legalqa.records import line_problems, parse_line

CONVERSATION_HEADER = ["question", "reply"]


def read_jsonl(lines: Iterable[str], where: str) -> Iterator[Row]:
    """Yield the field names as record 0, then one record a line.

    A line that is not one JSON object, or no conversation where the others are, becomes a record with its trouble.
    """
    header: list[str] = []
    conversations = False
    record = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record += 1
        if record == 1:
            first = _first_object(line, where, number)
            conversations = "conversations" in first
            _known_form(first, where, number)
            header = CONVERSATION_HEADER if conversations else [str(key) for key in first]
            yield Row(0, number, header)
        yield _conversation(line, record, number) if conversations else _object(line, header, record, number)


def read_array(text: str, where: str) -> Iterator[Row]:
    """Yield the field names as record 0, then the objects of one JSON array; one-element lists around an object are opened.

    The parser does not tell lines, so the line of each record is 0: unknown.
    """
    try:
        items = _loads(text)
    except ValueError as error:
        lines = "Extra data" in str(error) and text.lstrip().startswith("{")  # a whole object, and more after it
        fix = "it looks like JSON Lines: name it .jsonl" if lines else "mend it there, or write it again"
        raise UserError(Problem(where, f"not JSON: {error}", "one array of objects", fix)) from None
    if not isinstance(items, list):
        raise UserError(
            Problem(where, f"holds one {type(items).__name__}", "an array of objects", "or use JSON Lines (.jsonl)")
        )
    header: list[str] = []
    for record, item in enumerate(items, start=1):
        entry = item[0] if isinstance(item, list) and len(item) == 1 else item
        if not isinstance(entry, dict):
            yield Row(record, 0, [], f"is a {type(entry).__name__}, not an object")
            continue
        if not header:
            header = [str(key) for key in entry]
            yield Row(0, 0, header)
        yield _cells(entry, header, record, 0)


def _first_object(line: str, where: str, number: int) -> dict[str, Any]:
    """The first record, which tells the form of the file; a file that fails here is refused as a whole."""
    try:
        value = _loads(line)
    except ValueError as error:
        if line.strip() in "{[":
            fix = "write each record on one line (JSON Lines); a JSON array belongs into a .json file"
            raise UserError(
                Problem(f"{where} line {number}", "the object goes on over several lines", "one JSON object a line", fix)
            ) from None
        raise UserError(Problem(f"{where} line {number}", _json_trouble(line, error), "one JSON object a line")) from None
    if not isinstance(value, dict):
        fix = "it looks like a JSON array: name it .json" if isinstance(value, list) else "write each record as an object"
        raise UserError(Problem(f"{where} line {number}", f"a {type(value).__name__}", "one JSON object a line", fix))
    return value


def _known_form(first: dict[str, Any], where: str, number: int) -> None:
    """Raise UserError for chats in the forms of other tools, saying what to rename."""
    turns = first.get("conversations", first.get("messages"))
    if not isinstance(turns, list):
        return
    foreign = [name for name in ("from", "value") if turns and isinstance(turns[0], dict) and name in turns[0]]
    fix = ["rename messages to conversations"] if "messages" in first else []
    fix += ["rename from to role (human: user, gpt: assistant) and value to content"] if foreign else []
    if fix:
        found = f"a chat with the fields {', '.join([*first, *foreign])}"
        expected = '{"conversations": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}'
        raise UserError(Problem(f"{where} line {number}", found, expected, "; ".join(fix)))


def _json_trouble(line: str, error: ValueError) -> str:
    column = getattr(error, "pos", 0)
    if line[column : column + 2] == "\\n":
        return f"column {column + 1}: records are joined by the two characters \\ and n instead of a line end"
    return f"not one JSON object a line: {error}"


def _conversation(line: str, record: int, number: int) -> Row:
    try:
        conversation = parse_line(line)
    except ValidationError as error:
        return Row(record, number, [], "; ".join(line_problems(error)))
    turns = [message.content for message in conversation.conversations]
    if len(turns) != 2:
        return Row(record, number, [], f"has {len(turns)} turns; a record of this pipeline is one question and one answer")
    return Row(record, number, turns)


def _object(line: str, header: list[str], record: int, number: int) -> Row:
    try:
        value = _loads(line)
    except ValueError as error:
        return Row(record, number, [], _json_trouble(line, error))
    if not isinstance(value, dict):
        return Row(record, number, [], f"is a {type(value).__name__}, not an object")
    return _cells(value, header, record, number)


def _cells(entry: dict[str, Any], header: list[str], record: int, number: int) -> Row:
    """The values of ``entry`` in the order of ``header``; null and NaN are empty, a field that is not there is None."""
    return Row(record, number, [_text(entry[name]) if name in entry else None for name in header])


def texts(values: list[Any]) -> list[Cell]:
    """Values of any type as the text that a CSV would hold."""
    return [_text(value) for value in values]


def _text(value: Any) -> Cell:
    if isinstance(value, str):
        return value if value.isascii() or _whole(value) else NotText.HALF
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return NotText.BYTES
    if isinstance(value, dict | list):
        return NotText.NESTED
    return json.dumps(value) if isinstance(value, bool | int | float) else str(value)


def _whole(text: str) -> bool:
    """Whether UTF-8 can write the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _loads(text: str) -> Any:
    """JSON, strictly. Raises ValueError, also for a field that stands twice in an object and for brackets without end."""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("brackets are nested without end") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key in found if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the field {twice!r} stands twice")
    return found
