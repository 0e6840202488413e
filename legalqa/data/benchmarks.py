"""The questions of published benchmarks, in whatever JSON or CSV form they come."""

import csv
import json
from pathlib import Path
from typing import Any

from legalqa.problems import Problem, UserError

QUESTION_FIELDS = ("question", "input", "query", "prompt", "title", "问题", "题目", "instruction")


def questions(paths: list[str]) -> dict[str, list[str]]:
    """Path -> its questions: the texts of every field that may hold one. Raises UserError with all files that have none."""
    found: dict[str, list[str]] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            items = _items(Path(path))
        except FileNotFoundError:
            problems.append(Problem(f"split.benchmarks: {path}", "no such file"))
            continue
        except (ValueError, csv.Error) as error:
            problems.append(Problem(f"split.benchmarks: {path}", f"can't be read: {error}", "JSON, JSON Lines or CSV in UTF-8"))
            continue
        found[path] = [str(item[name]) for item in items for name in QUESTION_FIELDS if item.get(name)]
        if not found[path]:
            problems.append(
                Problem(f"split.benchmarks: {path}", "no field holds questions", f"one of {', '.join(QUESTION_FIELDS)}")
            )
    if problems:
        raise UserError(problems)
    return found


def _items(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines(keepends=True)))
    if text.lstrip().startswith("["):
        return [item for item in json.loads(text) if isinstance(item, dict)]
    return [item for line in text.split("\n") if line.strip() and isinstance(item := json.loads(line), dict)]
