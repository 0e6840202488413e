"""test split, models/{base,adapter,knowledge} -> reports/evaluate: every arm answers the same questions, and is scored."""

import time
from pathlib import Path

from legalqa.engine.local_engine import LocalEngine
from legalqa.evaluation import arms, predictions, probe, table
from legalqa.evaluation.compare import Bootstrap
from legalqa.evaluation.picture import draw
from legalqa.evaluation.predictions import Answers, Item
from legalqa.evaluation.report import render
from legalqa.evaluation.scores import Scorer
from legalqa.evaluation.similarity import Similarity
from legalqa.evaluation.slices import slices
from legalqa.files import read_json, write_json, write_text
from legalqa.knowledge.embedding import Embedder
from legalqa.knowledge.retrieval import Knowledge
from legalqa.params import EvaluateParams, load_params
from legalqa.prompt import Prompt
from legalqa.records import read_jsonl
from legalqa.stage import stage
from legalqa.tracking import add_to_run

TEST, TRAIN = Path("data/splits/test.jsonl"), Path("data/splits/train.jsonl")
BASE, ADAPTER, KNOWLEDGE = Path("models/base"), Path("models/adapter"), Path("models/knowledge")
REPORTS = Path("reports/evaluate")


def main(params: EvaluateParams) -> None:
    """Ask every arm, keep the answers, score them, report."""
    questions = predictions.spread(predictions.items(read_jsonl(TEST)), params.questions)
    embedder = Embedder()
    knowledge = Knowledge.load(KNOWLEDGE, embedder)
    answers, probed, seconds = ask_all(questions, probe.items(), knowledge, params)
    predictions.write(REPORTS / "predictions.jsonl", answers)
    predictions.write(REPORTS / "probe.jsonl", probed)

    similarity = Similarity(embedder)
    similarity.learn(text for of in answers.values() for answer in of for text in (answer.text.strip(), *answer.references))
    scorer = Scorer(knowledge.statutes, (conversation.answer for conversation in read_jsonl(TRAIN)), similarity)
    parts = {arm: [scorer.score(answer) for answer in of] for arm, of in answers.items()}
    probe_parts = {arm: [probe.score(answer) for answer in of] for arm, of in probed.items()}
    rows = table.rows(parts, _bootstrap(len(questions), params))
    rows += table.rows(probe_parts, _bootstrap(len(probe.items()), params))
    cuts = slices(questions, parts, knowledge.statutes, params)

    shown = f"{table.as_text(rows, len(questions))}\n"
    write_text(REPORTS / "table.txt", shown)
    write_json(REPORTS / "scores.json", table.flat(rows) | {"questions": len(questions)})
    write_json(REPORTS / "speed.json", {f"{arm}.seconds": round(each, 4) for arm, each in seconds.items()})
    write_json(REPORTS / "items.json", table.items([item.key for item in questions], parts))
    write_text(REPORTS / "scores.csv", table.as_csv(rows))
    write_text(REPORTS / "slices.csv", table.as_csv(cuts))
    draw(rows, REPORTS / "scores.png")
    write_text(REPORTS / "report.html", render(rows, cuts, answers, parts, knowledge.statutes, params))
    with add_to_run(read_json(ADAPTER / "training.json")["train_key"], "evaluate") as run:
        # with a slash, MLflow's UI shows a section for each arm
        values = table.flat(rows) | {f"{arm}.seconds": each for arm, each in seconds.items()}
        run.log({name.replace(".", "/"): value for name, value in values.items()}, step=0)
        run.artifact(REPORTS, "evaluate")
    print(f"\n{shown}seconds an answer: {', '.join(f'{arm} {each:.2f}' for arm, each in seconds.items())}")
    print(f"\n{REPORTS}/report.html shows all answers side by side")


def ask_all(
    questions: list[Item], probes: list[Item], knowledge: Knowledge, params: EvaluateParams
) -> tuple[Answers, Answers, dict[str, float]]:
    """Answers of every arm in the order of the params, floors last; what each local model says to the general probe; and
    the seconds that an arm took for an answer, with ``max_batch`` at once.
    """
    answers: Answers = {}
    probed: Answers = {}
    seconds: dict[str, float] = {}
    if arms.KNOWLEDGE in params.arms:
        started = time.monotonic()
        answers[arms.KNOWLEDGE] = arms.quotations(questions, knowledge)
        seconds[arms.KNOWLEDGE] = (time.monotonic() - started) / len(questions)
    models = dict.fromkeys(arms.model_of(arm) for arm in params.arms if arm != arms.KNOWLEDGE)
    for model in models:
        with arms.opened(model, BASE, ADAPTER, Prompt.load(ADAPTER), params) as engine:
            for arm in params.arms:
                if engine is not None and arms.model_of(arm) == model:
                    started = time.monotonic()
                    answers[arm] = arms.ask(arm, engine, questions, knowledge, params)
                    seconds[arm] = (time.monotonic() - started) / len(questions)
            if isinstance(engine, LocalEngine):
                probed[model] = arms.with_losses(arms.probe(model, engine, probes), probes, engine)
                if model in answers:
                    answers[model] = arms.with_losses(answers[model], questions, engine)
    ordered = {arm: answers[arm] for arm in params.arms if arm in answers}
    return ordered | arms.floors(questions, params.seed), probed, seconds


def _bootstrap(questions: int, params: EvaluateParams) -> Bootstrap:
    return Bootstrap(questions, params.resamples, params.confidence, params.seed)


if __name__ == "__main__":
    with stage("evaluate"):
        params = load_params()
        main(params.evaluate)
