"""dvc.yaml is the truth: against the code, params.yaml and the README."""

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from legalqa.params import Params
from tests.closure import closure, imported

ROOT = Path(__file__).resolve().parent.parent
MAP = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = MAP["stages"]


def _entries(stage: str, kind: str) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in STAGES[stage].get(kind, [])]


def _outputs(stage: str) -> list[str]:
    return [path for kind in ("outs", "metrics", "plots") for path in _entries(stage, kind)]


def _main(stage: str) -> ast.Module:
    return ast.parse((ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8"))


def test_every_box_is_one_file_in_stages() -> None:
    files = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert files == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_code_deps_are_the_import_closure(stage: str) -> None:
    """Every file that the stage imports is named, itself or by its room; nothing is named that it does not import."""
    code = {dep for dep in _entries(stage, "deps") if dep.startswith(("legalqa/", "stages/"))}
    used = closure(ROOT / "stages" / f"{stage}.py") - {"stages/__init__.py"}
    named = {dep: {file for file in used if file == dep or file.startswith(f"{dep}/")} for dep in code}
    assert set().union(*named.values()) == used
    assert all(named.values()), [dep for dep, files in named.items() if not files]


@pytest.mark.parametrize("stage", STAGES)
def test_command_runs_the_box(stage: str) -> None:
    assert STAGES[stage]["cmd"] == f"python -m stages.{stage}"


@pytest.mark.parametrize("stage", STAGES)
def test_params_named_are_the_params_read(stage: str) -> None:
    """``params.x`` in the file's last block: the stage is given those blocks and can read no other."""
    read = {
        node.attr.removesuffix("_")
        for node in ast.walk(_main(stage).body[-1])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
    }
    assert read == set(_entries(stage, "params"))
    assert read <= {field.alias or name for name, field in Params.model_fields.items()}


def test_every_block_is_read_by_a_stage_or_the_service() -> None:
    blocks = {field.alias or name for name, field in Params.model_fields.items()}
    named = {block for stage in STAGES for block in _entries(stage, "params")}
    used_elsewhere = {
        block
        for block in blocks - named
        for folder in ("serving", "legalqa")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(rf"params\([^)]*\)\.{block}\b", path.read_text(encoding="utf-8"))
    }
    assert blocks == named | used_elsewhere


def test_params_yaml_names_every_block_in_the_order_of_the_schema() -> None:
    shipped = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert list(shipped) == [field.alias or name for name, field in Params.model_fields.items()]


def test_outputs_never_overlap() -> None:
    paths = [Path(path) for stage in STAGES for path in _outputs(stage)]
    for first in paths:
        for second in paths:
            assert first is second or (first != second and first not in second.parents)


def test_no_stage_imports_another() -> None:
    for stage in STAGES:
        others = {file for file in closure(ROOT / "stages" / f"{stage}.py") if file.startswith("stages/")}
        assert others <= {"stages/__init__.py", f"stages/{stage}.py"}


def test_arrows_run_down_only() -> None:
    for path in (ROOT / "legalqa").rglob("*.py"):
        upward = {file for file in imported(path) if file.relative_to(ROOT).parts[0] in ("stages", "serving")}
        assert not upward, f"{path.relative_to(ROOT)} imports {upward}"


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("great_expectations", ("legalqa/data/expectations.py",)),
        ("mlflow", ("legalqa/tracking/",)),
        ("bentoml", ("service.py", "serving/", "legalqa/store.py")),
        ("deepspeed", ("legalqa/training/",)),
    ],
)
def test_each_tool_is_imported_in_its_room(library: str, rooms: tuple[str, ...]) -> None:
    for path in [*(ROOT / "legalqa").rglob("*.py"), *(ROOT / "stages").rglob("*.py"), *(ROOT / "serving").rglob("*.py")]:
        name = path.relative_to(ROOT).as_posix()
        if re.search(rf"^\s*(import|from) {library}\b", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert name.startswith(rooms), f"{name} imports {library}"


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_tree_in_the_readme_exists(readme: str) -> None:
    text = (ROOT / readme).read_text(encoding="utf-8")
    block = re.search(r"```tree\n(.*?)```", text, re.DOTALL)
    assert block, f"{readme} has no ```tree block"
    paths = [line.split()[0] for line in block[1].splitlines() if line.strip()]
    assert len(paths) > 20
    for path in paths:
        assert (ROOT / path).exists(), f"{readme} names {path}"
