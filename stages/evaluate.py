"""test split, models/{base,adapter,knowledge} -> reports/evaluate: every arm answers the same questions, and is scored."""

from pathlib import Path

from legalqa.evaluation import arms, predictions
from legalqa.evaluation.compare import Bootstrap
from legalqa.evaluation.picture import draw
from legalqa.evaluation.predictions import Item, Prediction
from legalqa.evaluation.report import render
from legalqa.evaluation.table import Table
from legalqa.files import read_json, write_json, write_text
from legalqa.knowledge.retrieval import Knowledge
from legalqa.params import EvaluateParams, load_params
from legalqa.prompt import Prompt
from legalqa.records import read_jsonl
from legalqa.stage import stage
from legalqa.tracking import add_to_run

TEST = Path("data/splits/test.jsonl")
BASE, ADAPTER, KNOWLEDGE = Path("models/base"), Path("models/adapter"), Path("models/knowledge")
REPORTS = Path("reports/evaluate")


def main(params: EvaluateParams) -> None:
    """Ask every arm, keep the answers, score them, report."""
    questions = predictions.items(read_jsonl(TEST))[: params.questions]
    knowledge = Knowledge.load(KNOWLEDGE)
    answers = {arm: _answers(arm, questions, knowledge, params) for arm in params.arms} | arms.floors(questions, params.seed)
    predictions.write(REPORTS / "predictions.jsonl", [answer for arm in answers.values() for answer in arm])

    table = Table(answers, knowledge.statutes, Bootstrap(len(questions), params.resamples, params.confidence, params.seed))
    write_json(REPORTS / "scores.json", table.flat())
    write_json(REPORTS / "items.json", table.items())
    write_text(REPORTS / "scores.csv", table.csv())
    draw(table, REPORTS / "scores.png")
    write_text(REPORTS / "report.html", render(table, answers, knowledge.statutes, params.model_dump(mode="json")))
    _track(table)
    print(f"\n{table.text()}\n\n{REPORTS}/report.html shows all answers side by side")


def _answers(arm: str, questions: list[Item], knowledge: Knowledge, params: EvaluateParams) -> list[Prediction]:
    """One prediction a question."""
    if arm == "knowledge":
        return arms.knowledge(arm, questions, knowledge)
    adapter = ADAPTER if arm == "tuned" else None
    settings = (params.weights, params.max_new_tokens, params.max_batch)
    return arms.local_model(arm, questions, BASE, adapter, Prompt.load(ADAPTER), *settings)


def _track(table: Table) -> None:
    with add_to_run(read_json(ADAPTER / "training.json")["train_key"], "evaluate") as run:
        run.log(table.flat(), step=0)
        for name in ("report.html", "scores.csv", "predictions.jsonl"):
            run.artifact(REPORTS / name, "evaluate")


if __name__ == "__main__":
    with stage("evaluate"):
        params = load_params()
        main(params.evaluate)
