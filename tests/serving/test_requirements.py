"""The bento's requirements: the project's own versions, and everything that the service imports."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OWN = ("legalqa", "serving")


def pins(path: Path) -> dict[str, str]:
    lines = [line.split(";")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_pins_are_those_of_the_lock() -> None:
    lock, own = pins(ROOT / "requirements.lock"), pins(ROOT / "serving/requirements.txt")
    assert {name: version for name, version in own.items() if lock.get(name) != version} == {}


def test_everything_imported_is_required() -> None:
    todo, seen, foreign = [ROOT / "service.py"], set(), set()
    while todo:
        path = todo.pop()
        seen.add(path)
        for name in imports(path):
            if name.split(".")[0] not in OWN:
                foreign.add(name.split(".")[0])
                continue
            for candidate in (ROOT / f"{name.replace('.', '/')}.py", ROOT / name.replace(".", "/") / "__init__.py"):
                if candidate.is_file() and candidate not in seen:
                    todo.append(candidate)
    names = {name.replace(".", "-") for name in pins(ROOT / "serving/requirements.txt")}
    distributions = packages_distributions() | {"ruamel": ["ruamel.yaml"]}  # a namespace that several packages share
    missing = {
        module
        for module in foreign - set(sys.stdlib_module_names)
        if not any(one.lower().replace("_", "-").replace(".", "-") in names for one in distributions.get(module, [module]))
    }
    assert missing == set()
