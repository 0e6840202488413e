"""The bento's requirements: the project's own versions, and everything that the service imports."""

import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.closure import OWN, ROOT, closure, names


def pins(path: Path) -> dict[str, str]:
    lines = [line.split(";")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def test_pins_are_those_of_the_lock() -> None:
    lock, own = pins(ROOT / "requirements.lock"), pins(ROOT / "serving/requirements.txt")
    assert {name: version for name, version in own.items() if lock.get(name) != version} == {}


def test_everything_imported_is_required() -> None:
    modules = {name.split(".")[0] for file in closure(ROOT / "service.py") for name in names(ROOT / file)}
    required = {name.replace(".", "-") for name in pins(ROOT / "serving/requirements.txt")}
    distributions = packages_distributions() | {"ruamel": ["ruamel.yaml"]}  # a namespace that several packages share
    missing = {
        module
        for module in modules - {*OWN, *sys.stdlib_module_names}
        if not any(one.lower().replace("_", "-").replace(".", "-") in required for one in distributions.get(module, [module]))
    }
    assert missing == set()
