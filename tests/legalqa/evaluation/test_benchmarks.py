"""Benchmarks end to end over a tiny model, and their resumption."""

import csv
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from legalqa.evaluation import arms, benchmarks
from legalqa.files import read_json, write_json, write_text
from legalqa.knowledge.retrieval import Knowledge
from legalqa.knowledge.statutes import Article, Statutes
from legalqa.params import BenchmarkParams, EvaluateParams
from legalqa.problems import UserError
from tests.packed import packable

EVALUATE = EvaluateParams(arms=["base"], resamples=100, max_batch=4)
LECOQA = [{"问题": "丢了货物怎么赔？", "match_name": ["中华人民共和国民法典第八百三十九条"]}]
CHOICES = "input,output,A,B,C,D,source,multichoice\n宪法颁布于何时？,B,1949年,1954年,1978年,,kb,False\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks")
    packable(folder)
    shutil.rmtree(folder / "models/knowledge")
    article = Article("中华人民共和国民法典", "839", "第八百三十九条", "多式联运经营人可以约定相互之间的责任。", "in_force")
    Knowledge.build(Statutes([article]), [], 0.0).save(folder / "models/knowledge")
    examples = [{"instruction": "请回答", "question": f"问{n}", "answer": "可以起诉。"} for n in range(5)]
    write_json(folder / "law/3-8.json", examples)
    write_json(folder / "lecoqa.json", LECOQA)
    write_text(folder / "disc/one.csv", CHOICES)
    return folder


@pytest.fixture
def ready(fresh_project: Path, template: Path) -> Path:
    shutil.copytree(template, fresh_project, dirs_exist_ok=True)
    return fresh_project


def test_a_table_of_all_arms_and_nothing_is_asked_twice(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = BenchmarkParams(
        lawbench="law",
        tasks=["3-8"],
        disc="disc",
        lecoqa="lecoqa.json",
        arms=["base", "base+knowledge"],
        items=3,
        max_new_tokens=4,
    )
    benchmarks.main(params, EVALUATE)
    with (ready / "reports/benchmarks/scores.csv").open(encoding="utf-8") as stream:
        rows = {(row["benchmark"], row["arm"]): row for row in csv.DictReader(stream)}
    assert {name for name, _ in rows} == {"LawBench 3-8 法律咨询", "DISC-Law-Eval one", "LeCoQA"}
    assert {arm for _, arm in rows} == {"base", "base+knowledge"}
    assert rows["LawBench 3-8 法律咨询", "base"]["items"] == "3"
    kept = next((ready / "reports/benchmarks").glob("*/base/LawBench 3-8 法律咨询.json"))
    assert list(read_json(kept)["0"]) == ["origin_prompt", "prediction", "refr"]
    asked: list[int] = []
    real = arms.generate
    monkeypatch.setattr(
        arms, "generate", lambda what, engine, prompts, most: asked.append(len(prompts)) or real(what, engine, prompts, most)
    )
    benchmarks.main(params.model_copy(update={"items": 4, "arms": ["base"]}), EVALUATE)
    assert asked == [1]  # the fourth question of LawBench; the other tasks have no more


def test_citations_are_scored() -> None:
    from legalqa.evaluation.lawbench import Answered

    law = Statutes([Article("中华人民共和国民法典", "839", "第八百三十九条", "责任。", "in_force")])
    found = benchmarks._citation_f1([Answered("", "依民法典第839条", "中华人民共和国民法典第八百三十九条")], law)
    assert (found.score, found.abstained) == (100.0, 0.0)


def test_what_is_not_there_is_named(ready: Path) -> None:
    with pytest.raises(UserError, match=r"3-8\.json is not there"):
        benchmarks.main(BenchmarkParams(lawbench="nowhere", tasks=["3-8"]), EVALUATE)
    with pytest.raises(UserError, match="lawbench, disc or lecoqa"):
        benchmarks.main(BenchmarkParams(), EVALUATE)
    with pytest.raises(UserError, match=r"cilin\.txt: is not there.*task 2-1 out"):
        benchmarks.main(BenchmarkParams(lawbench="law", lawbench_scorer="nowhere", tasks=["2-1"]), EVALUATE)


def test_corrections_need_the_tables_of_their_scorer() -> None:
    with pytest.raises(ValidationError, match="task 2-1 needs lawbench_scorer"):
        BenchmarkParams(lawbench="law", tasks=["3-8", "2-1"])
