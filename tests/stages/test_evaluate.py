"""Every arm answers, is scored, and is shown; the same input gives the same bytes."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from legalqa.files import read_json, sha256
from legalqa.knowledge.retrieval import Knowledge
from legalqa.knowledge.statutes import Article, Statutes
from legalqa.params import Arm, EvaluateParams
from legalqa.records import read_jsonl
from legalqa.tracking.store import connect, find_runs
from stages import evaluate
from tests.openai_server import running, said
from tests.packed import QUESTIONS, TRAIN_KEY, packable

REPORTS = Path("reports/evaluate")
LAW = "中华人民共和国民法典"


def _params(*arms: Arm) -> EvaluateParams:
    return EvaluateParams(arms=list(arms), max_new_tokens=8, max_batch=4, resamples=100)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluable")
    packable(folder)
    shutil.rmtree(folder / "reports")
    shutil.rmtree(folder / "models/knowledge")
    statutes = Statutes([Article(LAW, "675", "第六百七十五条", "借款人应当按照约定的期限返还借款。", "in_force")])
    Knowledge.build(statutes, read_jsonl(folder / "data/splits/train.jsonl"), 0.0).save(folder / "models/knowledge")
    return folder


@pytest.fixture
def ready(project: Path, template: Path) -> Path:
    shutil.copytree(template, project, dirs_exist_ok=True)
    return project


def _arms_of(path: Path) -> list[str]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return list(dict.fromkeys(line["arm"] for line in lines))


def hashes() -> dict[str, str]:
    """Of all reports but the one that a clock is in."""
    return {path.name: sha256(path) for path in REPORTS.iterdir() if path.name != "speed.json"}


def test_local_arms_floors_and_probe(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = _params("base", "tuned", "knowledge", "tuned+knowledge")
    evaluate.main(params)
    floors = ["floor_random", "floor_boilerplate"]
    assert _arms_of(REPORTS / "predictions.jsonl") == ["base", "tuned", "knowledge", "tuned+knowledge", *floors]
    assert _arms_of(REPORTS / "probe.jsonl") == ["base", "tuned"]
    scores = read_json(REPORTS / "scores.json")
    assert scores["questions"] == len(QUESTIONS)
    assert scores["base.loss"] != scores["tuned.loss"]
    assert "knowledge.loss" not in scores
    assert scores["knowledge.truncated"] == 0.0
    assert scores["tuned.probe_accuracy"] >= 0
    assert set(read_json(REPORTS / "items.json")["tuned"]["rouge_l_char"]) == set(QUESTIONS)
    with (REPORTS / "scores.csv").open(encoding="utf-8") as stream:
        assert {(row["arm"], row["score"]) for row in csv.DictReader(stream)} == {
            tuple(name.split(".")) for name in scores if "." in name
        }
    shown = capsys.readouterr().out
    assert "rouge_l_char" in shown
    assert "4 questions" in shown
    run = find_runs(*connect(), TRAIN_KEY)[0]
    assert run.data.metrics["tuned/rouge_l_char"] == pytest.approx(scores["tuned.rouge_l_char"])
    assert run.data.metrics["tuned/seconds"] > 0
    assert set(read_json(REPORTS / "speed.json")) == {f"{arm}.seconds" for arm in params.arms}
    before = hashes()
    evaluate.main(params)
    assert hashes() == before


def test_an_external_api_is_one_more_arm(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as server:
        server.events = said("应当按照约定的期限", "返还借款。")
        monkeypatch.setenv("LEGALQA_API_URL", server.url)
        monkeypatch.setenv("LEGALQA_API_MODEL", "其他模型")
        evaluate.main(_params("api", "api+knowledge"))
    assert len(server.seen) == 2 * len(QUESTIONS)
    assert {body["model"] for _, _, body in server.seen} == {"其他模型"}
    asked = [body["messages"][-1]["content"] for _, _, body in server.seen]
    assert sum("参考资料" in content for content in asked) == len(QUESTIONS)
    assert read_json(REPORTS / "scores.json")["api.truncated"] == 0.0
    assert _arms_of(REPORTS / "predictions.jsonl")[:2] == ["api", "api+knowledge"]


def test_an_arm_without_its_endpoint_is_left_out(
    ready: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LEGALQA_API_URL", raising=False)
    evaluate.main(_params("knowledge", "api"))
    assert "LEGALQA_API_URL is not set" in capsys.readouterr().out
    assert _arms_of(REPORTS / "predictions.jsonl")[0] == "knowledge"
    assert "api" not in _arms_of(REPORTS / "predictions.jsonl")
