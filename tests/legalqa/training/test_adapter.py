import ast
from collections.abc import Callable
from pathlib import Path

from legalqa.training import worker
from legalqa.training.adapter import CODE, summary
from legalqa.training.job import DEV, TRAIN, Job
from legalqa.training.packing import Samples

ROOT = Path(__file__).resolve().parents[3]


def imported(path: Path) -> set[Path]:
    """Modules of the training's own room that a file imports, by itself or by others."""
    found, todo = set(), [path]
    while todo:
        found.add(current := todo.pop())
        for node in ast.walk(ast.parse(current.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("legalqa.training"):
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                files = {ROOT.joinpath(*name.split(".")).with_suffix(".py") for name in names}
                todo += [file for file in files if file.is_file() and file not in found]
    return found


def test_what_shapes_a_training_is_in_its_key_and_what_only_shows_it_is_not() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in CODE}
    assert {path.relative_to(ROOT).as_posix() for path in imported(Path(worker.__file__))} <= names
    assert {"conf/deepspeed/zero3.json", "legalqa/prompt.py", "legalqa/training/adapter.py"} <= names
    assert not {f"legalqa/training/{name}.py" for name in ("curves", "fits", "plan", "shapes")} & names


def test_checkpoints_of_another_training_are_named_and_not_used(make_job: Callable[..., Job]) -> None:
    old, published = make_job("old").folder, make_job("published")
    for folder in (old, published.folder):
        (folder / "checkpoint-3").mkdir()
    published.checkpoints.finish()
    job = make_job("new")
    said = summary(*(Samples.load(job.folder / name) for name in (TRAIN, DEV)), job)
    assert job.resume is None
    assert said.splitlines()[-2].startswith("starts anew; ") and said.splitlines()[-1] == f"  {old}"
