"""Published benchmarks, one score table for all arms: `python -m legalqa.evaluation.benchmarks`, settings in params.yaml.

LawBench's task files, DISC-Law-Eval's choice questions, LeCoQA's test questions. Predictions are kept in LawBench's format
below reports/benchmarks/KEY/ARM/, KEY from all that shapes an answer, so a run that was stopped goes on where it was.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from legalqa.engine.interface import Engine
from legalqa.evaluation import arms, choices, lawbench
from legalqa.evaluation.compare import Bootstrap, Counted
from legalqa.evaluation.lawbench import Answered, Result
from legalqa.files import read_json, write_json, write_text
from legalqa.grounding import grounded, nearest
from legalqa.knowledge import citations
from legalqa.knowledge.retrieval import Knowledge
from legalqa.knowledge.statutes import Statutes
from legalqa.params import BenchmarkParams, EvaluateParams, load_params
from legalqa.problems import Problem, UserError
from legalqa.prompt import Prompt
from legalqa.provenance import digest_of
from legalqa.records import Message
from legalqa.stage import stage

BASE, ADAPTER, KNOWLEDGE = Path("models/base"), Path("models/adapter"), Path("models/knowledge")
REPORTS = Path("reports/benchmarks")
CHUNK = 64  # predictions between two writes


@dataclass(frozen=True)
class Task:
    """A benchmark's questions with their answers, and how predictions are scored."""

    name: str
    metric: str
    prompts: list[str]
    answers: list[str]
    score: Callable[[Sequence[Answered]], Result]


def main(params: BenchmarkParams, evaluate: EvaluateParams) -> None:
    """Run every arm on every task, then write and print the table."""
    knowledge = Knowledge.load(KNOWLEDGE)
    tasks = list(load(params, knowledge.statutes))
    if not tasks:
        raise UserError(Problem("params.yaml: benchmarks", "no folder or file named", "lawbench, disc or lecoqa"))
    rows = []
    for model in dict.fromkeys(arms.model_of(arm) for arm in params.arms):
        with arms.opened(model, BASE, ADAPTER, Prompt.load(ADAPTER), evaluate) as engine:
            for arm in params.arms:
                if engine is not None and arms.model_of(arm) == model:
                    for task in tasks:
                        answered = predict(arm, engine, task, knowledge, params, evaluate)
                        rows.append(
                            {"benchmark": task.name, "metric": task.metric, "arm": arm, **_scores(task, answered, evaluate)}
                        )
    table = pd.DataFrame(rows).sort_values(["benchmark", "arm"], kind="stable")
    write_text(REPORTS / "scores.csv", table.to_csv(index=False, float_format="%.2f", lineterminator="\n"))
    print(f"\n{table.to_string(index=False, float_format='%.2f')}\n\n{REPORTS}/scores.csv")


def load(params: BenchmarkParams, statutes: Statutes) -> Iterator[Task]:
    """The tasks that params.yaml names, cut to the wanted number of items. Raises UserError for files that aren't there."""
    kinds = lawbench.tasks(Path(params.lawbench_scorer) if params.lawbench_scorer else None)
    for number in params.tasks if params.lawbench else ():
        path, kind = Path(params.lawbench or "") / f"{number}.json", kinds[number]
        examples = _json(path)[: params.items]
        prompts, answers = [lawbench.prompt(e) for e in examples], [e["answer"] for e in examples]
        yield Task(f"LawBench {number} {kind.chinese}", kind.metric, prompts, answers, kind.score)
    for path in sorted(Path(params.disc).glob("*.csv")) if params.disc else ():
        frame = pd.read_csv(path, dtype=str).head(params.items or 10**9)
        asked = [choices.prompt({str(name): value for name, value in row.items()}) for _, row in frame.fillna("").iterrows()]
        yield Task(f"DISC-Law-Eval {path.stem}", "accuracy", asked, frame["output"].tolist(), choices.exact)
    if params.lecoqa:
        examples = _json(Path(params.lecoqa))[: params.items]
        named = ["、".join(e["match_name"]) for e in examples]
        yield Task("LeCoQA", "citation F1", [e["问题"] for e in examples], named, partial(_citation_f1, statutes=statutes))


def predict(
    arm: str, engine: Engine, task: Task, knowledge: Knowledge, params: BenchmarkParams, evaluate: EvaluateParams
) -> list[Answered]:
    """Answers of one arm to one task; those already on the disk are not asked for again."""
    shaping = {
        "base": read_json(BASE / "identity.json")["sha256"],
        "train_key": read_json(ADAPTER / "training.json")["train_key"],
    }
    shaping |= {"weights": evaluate.weights, "passages": [evaluate.passages, evaluate.passage_tokens]}
    key = digest_of(shaping | {"max_new_tokens": params.max_new_tokens})[:12]
    path = REPORTS / key / arm / f"{task.name}.json"
    done: dict[str, dict[str, str]] = read_json(path) if path.exists() else {}
    todo = [at for at in range(len(task.prompts)) if done.get(str(at), {}).get("origin_prompt") != task.prompts[at]]
    for start in range(0, len(todo), CHUNK):
        chunk = todo[start : start + CHUNK]
        asked = [_messages(arm, task.prompts[at], engine, knowledge, evaluate) for at in chunk]
        label = f"{arm}: {task.name} {len(task.prompts) - len(todo) + start}/{len(task.prompts)}"
        for at, completion in zip(chunk, arms.generate(label, engine, asked, params.max_new_tokens), strict=True):
            if completion.error:
                raise UserError(
                    Problem(f"{arm}, {task.name}", completion.error, "an answer", "run it again: it goes on from here")
                )
            done[str(at)] = {"origin_prompt": task.prompts[at], "prediction": completion.text, "refr": task.answers[at]}
        write_json(path, done)
    return [Answered(task.prompts[at], done[str(at)]["prediction"], task.answers[at]) for at in range(len(task.prompts))]


def _messages(arm: str, prompt: str, engine: Engine, knowledge: Knowledge, params: EvaluateParams) -> tuple[Message, ...]:
    messages = (Message(role="user", content=prompt),)
    if not arm.endswith(arms.WITH_PASSAGES):
        return messages
    found = nearest(knowledge, prompt, params.passages, params.passage_tokens, lambda text: len(engine.prompt.encode(text)))
    return grounded(messages, [(passage.title, passage.text) for passage in found])


def _scores(task: Task, answered: Sequence[Answered], params: EvaluateParams) -> dict[str, float]:
    """The benchmark's own score, and the interval of the mean of its items."""
    result = task.score(answered)
    bootstrap = Bootstrap(len(result.items), params.resamples, params.confidence, params.seed)
    spread = bootstrap.score([Counted(item) for item in result.items])
    assert spread is not None
    return {
        "score": result.score,
        "low": spread.low,
        "high": spread.high,
        "abstained": result.abstained,
        "items": len(answered),
    }


def _citation_f1(answered: Sequence[Answered], statutes: Statutes) -> Result:
    """Mean F1 of the (law, article) pairs of an answer against the articles that belong to the question."""
    found = []
    for one in answered:
        ours, theirs = citations.keys(one.prediction, statutes), citations.keys(one.answer, statutes)
        found.append(200 * len(ours & theirs) / (len(ours) + len(theirs)) if ours or theirs else 0.0)
    silent = sum(not citations.keys(one.prediction, statutes) for one in answered)
    return Result(sum(found) / len(found), tuple(found), 100 * silent / len(found))


def _json(path: Path) -> list[dict[str, str]]:
    try:
        loaded: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(Problem("params.yaml: benchmarks", f"{path} is not there", "the benchmark's own file")) from None
    return loaded


if __name__ == "__main__":
    with stage("benchmarks"):
        main(load_params().benchmarks, load_params().evaluate)
