"""The columns of a file, found by the names that data.columns gives them."""

import difflib
import unicodedata
from collections import Counter

from legalqa.params import Columns
from legalqa.problems import Problem, UserError

COMMON_NAMES = {
    "title": ("title", "subject", "标题", "问题标题", "主题", "query", "instruction"),
    "question": ("question", "content", "body", "问题", "问题描述", "描述", "提问", "内容"),
    "reply": ("reply", "answer", "response", "output", "回答", "回复", "答案", "答复", "解答"),
    "is_best": ("is_best", "best", "label", "是否最佳", "最佳", "最佳答案", "是否采纳", "采纳"),
}


def fold(name: str) -> str:
    """A column name without the differences that exports make: width, case, blanks at the ends, byte order marks."""
    return unicodedata.normalize("NFKC", name).replace("\ufeff", "").strip().casefold()


def wanted(columns: Columns) -> dict[str, str]:
    """Role -> name in the file, of the columns that the file is said to have."""
    return {role: name for role, name in columns.model_dump().items() if name is not None}


def score(columns: Columns, header: list[str]) -> int:
    """How many of the wanted columns a header shows."""
    folded = {fold(name) for name in header}
    return sum(fold(name) in folded for name in wanted(columns).values())


def locate(columns: Columns, header: list[str], where: str, named: bool) -> tuple[dict[str, int], list[str]]:
    """Role -> position, and notes on names that fit only after folding. Raises UserError with all missing and doubled ones.

    ``named``: the header is one for certain (JSON, Parquet), not the first line of a CSV, which may be data already.
    """
    positions: dict[str, int] = {}
    notes: list[str] = []
    missing: dict[str, str] = {}
    problems: list[Problem] = []
    names = Counter(fold(name) for name in header)
    for role, name in wanted(columns).items():
        if names[fold(name)] > 1:
            problems.append(
                Problem(where, f"column {name!r} stands {names[fold(name)]} times in the header", fix="rename or remove one")
            )
        elif names[fold(name)] == 1:
            positions[role] = [fold(other) for other in header].index(fold(name))
            if header[positions[role]] != name:
                notes.append(f"column {header[positions[role]]!r} read as {name!r}")
        else:
            missing[role] = name
    if missing:
        problems.append(_missing(missing, header, where, named))
    if problems:
        raise UserError(problems)
    return positions, notes


def _missing(missing: dict[str, str], header: list[str], where: str, named: bool) -> Problem:
    if not named and not any(fold(name) in {fold(n) for names in COMMON_NAMES.values() for n in names} for name in header):
        shown = ", ".join(f"{len(name)} characters" for name in header[:8])
        found = f"no header: the first line ({len(header)} cells of {shown}) names none of {', '.join(missing.values())}"
        return Problem(where, found, "a first line with the column names", "add one, or name the columns in data.columns")
    near = {role: name for role in missing if (name := _nearest(role, missing[role], header))}
    mapping = ", ".join(f"{role}: {near.get(role, 'NAME or null')}" for role in missing)
    found = f"no column {', '.join(missing.values())}; the file has {', '.join(header)}"
    return Problem(where, found, "each column of data.columns", f"map them in params.yaml, as in data.columns: {{{mapping}}}")


def _nearest(role: str, name: str, header: list[str]) -> str:
    by_meaning = [column for column in header if fold(column) in COMMON_NAMES[role]]
    by_letters = difflib.get_close_matches(fold(name), [fold(column) for column in header], n=1, cutoff=0.7)
    return (by_meaning or [column for column in header if by_letters and fold(column) == by_letters[0]] or [""])[0]
