"""The whole map on 60 rows and a tiny random model: a real `dvc repro` in a copy of the project."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from legalqa.files import read_json, sha256
from legalqa.records import read_jsonl
from tests.tiny import tiny_model

ROOT = Path(__file__).resolve().parent.parent
TINY = {
    "data.source": "data/我的 问答 #1.csv",
    "base.source": "local",
    "base.path": "tiny base",
    "base.name": "tiny",
    "train.epochs": 1,
    "train.max_length": 128,
    "evaluate.max_new_tokens": 8,
    "winner.limits": [],
}


def _run(project: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LC_ALL": "C",
        "BENTOML_HOME": str(project / ".bentoml"),
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


def _set(project: Path, values: dict[str, object]) -> None:
    yaml = YAML()
    path = project / "params.yaml"
    tree = yaml.load(path.read_text(encoding="utf-8"))
    for key, value in values.items():
        *blocks, leaf = key.split(".")
        node = tree
        for block in blocks:
            node = node[block]
        assert leaf in node, f"params.yaml has no {key}"
        node[leaf] = value
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(tree, stream)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files, in a folder with blanks, brackets, '#' and Chinese, after one `dvc repro`."""
    folder = tmp_path_factory.mktemp("pipeline") / "法律 问答 (副本) #1"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in tracked.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    pd.read_csv(ROOT / "data/sample/legal_qa.csv", dtype=str, nrows=60).to_csv(folder / "data/我的 问答 #1.csv", index=False)
    tiny_model(folder / "tiny base")
    _set(folder, TINY)
    _run(folder, "git", "init", "-q")
    _run(folder, "dvc", "repro")
    return folder


def test_every_box_left_what_the_map_says(project: Path) -> None:
    lock = YAML(typ="safe").load((project / "dvc.lock").read_text(encoding="utf-8"))
    stages = YAML(typ="safe").load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert set(lock["stages"]) == set(stages)


def test_every_row_is_accounted_for(project: Path) -> None:
    ledger = read_json(project / "reports/convert/ledger.json")
    assert ledger["read"] == 60
    assert ledger["read"] == ledger["kept"] + sum(ledger["dropped"].values())


def test_splits_hold_every_conversation_once(project: Path) -> None:
    together = [
        conversation.question
        for name in ("train", "dev", "test")
        for conversation in read_jsonl(project / "data/splits" / f"{name}.jsonl")
    ]
    assert sorted(together) == sorted(c.question for c in read_jsonl(project / "data/conversations.jsonl"))


def test_scores_of_every_arm(project: Path) -> None:
    scores = read_json(project / "reports/evaluate/scores.json")
    assert scores["questions"] == len({c.question for c in read_jsonl(project / "data/splits/test.jsonl")})
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in scores.values())
    for arm in ("base", "tuned", "knowledge", "floor_random", "floor_boilerplate"):
        assert 0 <= scores[f"{arm}.rouge_l_char"] <= 100
    assert scores["tuned.loss"] != scores["base.loss"]
    assert set(read_json(project / "reports/evaluate/speed.json")) == {"base.seconds", "tuned.seconds", "knowledge.seconds"}


def test_manifest_names_every_file_of_the_bundle(project: Path) -> None:
    bundle = project / "models/bundle"
    manifest = read_json(bundle / "manifest.json")
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == files
    for name in sorted(files):
        assert manifest["files"][name]["sha256"] == sha256(bundle / name)


def test_second_run_runs_nothing(project: Path) -> None:
    done = _run(project, "dvc", "repro")
    assert "Running stage" not in done.stdout
    assert "up to date" in _run(project, "dvc", "status").stdout


def test_git_is_offered_what_the_cache_does_not_keep(project: Path) -> None:
    stages = YAML(typ="safe").load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    metrics = [entry for stage in stages.values() for entry in stage.get("metrics", [])]
    uncached = {path for entry in metrics for path, settings in entry.items() if settings == {"cache": False}}
    assert len(uncached) == len(metrics)
    offered = _run(project, "git", "ls-files", "-z", "--others", "--exclude-standard").stdout.split("\0")
    made = {
        name for name in offered if name == "dvc.lock" or name.startswith(("reports/", "models/", "data/splits", "data/conv"))
    }
    assert made == {"dvc.lock", *uncached}


def test_a_committed_state_comes_back(project: Path) -> None:
    bundle, metric = project / "models/bundle/manifest.json", project / "reports/split/leakage.json"
    before = bundle.read_bytes(), metric.read_bytes(), (project / "data/splits/train.jsonl").read_bytes()
    _run(project, "git", "add", "dvc.lock", "params.yaml", "reports")
    _run(project, "git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "first")
    _set(project, {"split.key": "another", "split.train": 0.6, "split.test": 0.3})
    _run(project, "dvc", "repro", "split")
    assert (project / "data/splits/train.jsonl").read_bytes() != before[2]
    _run(project, "git", "checkout", "-q", "--", "dvc.lock", "params.yaml", "reports")
    _run(project, "dvc", "checkout")
    assert (bundle.read_bytes(), metric.read_bytes(), (project / "data/splits/train.jsonl").read_bytes()) == before
    assert "up to date" in _run(project, "dvc", "status").stdout


def test_data_stages_repeat_byte_for_byte(project: Path) -> None:
    before = (project / "dvc.lock").read_text(encoding="utf-8")
    _run(project, "dvc", "repro", "--force", "--single-item", "--no-run-cache", "validate", "convert", "split", "knowledge")
    assert (project / "dvc.lock").read_text(encoding="utf-8") == before


def test_mistyped_key_stops_before_anything_runs(project: Path) -> None:
    path = project / "params.yaml"
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(text.replace("  max_new_tokens:", "  max_new_token:", 1), encoding="utf-8")
        done = _run(project, "dvc", "repro", check=False)
    finally:
        path.write_text(text, encoding="utf-8")
    assert done.returncode
    assert "did you mean max_new_tokens?" in done.stdout + done.stderr
    assert (project / "models/bundle/manifest.json").is_file()


def test_missing_file_is_said(project: Path) -> None:
    source = project / "data/我的 问答 #1.csv"
    hidden = source.rename(source.with_suffix(".away"))
    try:
        checked = _run(project, sys.executable, "-m", "legalqa.params", check=False)  # what `make repro` runs first
        done = _run(project, "dvc", "repro", check=False)
    finally:
        hidden.rename(source)
    assert checked.returncode == 1
    for said in ("data.source: data/我的 问答 #1.csv", "there is no such file", "put the file there"):
        assert said in checked.stderr
    assert "Traceback" not in checked.stderr
    assert done.returncode
    assert source.name in done.stdout + done.stderr
    assert (project / "data/conversations.jsonl").is_file()


def test_promoted_bundle_is_in_the_registry_and_the_store(project: Path) -> None:
    version = sha256(project / "models/bundle/manifest.json")[:12]
    assert "no champion yet" in _run(project, sys.executable, "-m", "legalqa.promote", "champions").stdout
    _run(project, sys.executable, "-m", "legalqa.promote", "promote")
    history = _run(project, sys.executable, "-m", "legalqa.promote", "champions").stdout
    assert f"promote   version   1  {version}  the first champion" in history
    assert f"champion: version 1, bundle {version}" in history
    listed = _run(project, "bentoml", "models", "list", "--output", "json").stdout
    assert {model["tag"] for model in json.loads(listed)} == {"legalqa:champion", f"legalqa:{version}"}
    traced = _run(project, sys.executable, "-m", "legalqa.promote", "trace").stdout
    assert f"bundle        {version}" in traced
    assert "as on disk" in traced
