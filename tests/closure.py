"""Which files of this repository a file imports."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OWN = ("legalqa", "stages", "serving")


def _module_file(name: str) -> Path | None:
    path = ROOT.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def names(path: Path) -> set[str]:
    """Dotted names of all modules, and of what is taken from them, that ``path`` imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"legalqa(\.\w+)+", node.value):
            found.add(node.value)  # a module started in a process of its own: python -m legalqa.training.trainer
    return found


def imported(path: Path) -> set[Path]:
    """Files of this repository that ``path`` imports anywhere, package ``__init__`` files included."""
    files: set[Path] = set()
    for name in names(path):
        parts = name.split(".")
        if parts[0] not in OWN:
            continue
        for length in range(1, len(parts) + 1):
            found = _module_file(".".join(parts[:length]))
            if found:
                files.add(found)
    return files


def closure(path: Path) -> set[str]:
    """``path`` and all files of this repository that it imports, by itself or through others, as paths from the root."""
    seen: set[Path] = set()
    todo = [path]
    while todo:
        current = todo.pop()
        if current not in seen:
            seen.add(current)
            todo += imported(current)
    return {file.relative_to(ROOT).as_posix() for file in seen}
