from collections.abc import Callable
from pathlib import Path

from legalqa.training import worker
from legalqa.training.adapter import CODE, summary
from legalqa.training.job import DEV, TRAIN, Job
from legalqa.training.packing import Samples
from tests.closure import ROOT, closure


def test_what_shapes_a_training_is_in_its_key_and_what_only_shows_it_is_not() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in CODE}
    assert {file for file in closure(Path(worker.__file__)) if file.startswith("legalqa/training/")} <= names
    assert {"conf/deepspeed/zero3.json", "legalqa/prompt.py", "legalqa/training/adapter.py"} <= names
    assert not {f"legalqa/training/{name}.py" for name in ("curves", "fits", "plan")} & names


def test_checkpoints_of_another_training_are_named_and_not_used(make_job: Callable[..., Job]) -> None:
    old, published = make_job("old").folder, make_job("published")
    for folder in (old, published.folder):
        (folder / "checkpoint-3").mkdir()
    published.checkpoints.finish()
    job = make_job("new")
    said = summary(*(Samples.load(job.folder / name) for name in (TRAIN, DEV)), job)
    assert job.resume is None
    assert said.splitlines()[-2].startswith("starts anew; ") and said.splitlines()[-1] == f"  {old}"
