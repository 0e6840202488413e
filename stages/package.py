"""models/{base,adapter,knowledge}, reports of all stages -> models/bundle, reports/package/parity.json: the gate."""

import csv
from pathlib import Path
from typing import Any

from legalqa import parity
from legalqa.base.identity import Identity
from legalqa.bundle import CARD_FILE, CONFIG_FILE, GENERATION_FILE, ITEMS_FILE, SCORES_FILE, Bundle, Origin
from legalqa.card import render
from legalqa.evaluation import predictions
from legalqa.evaluation.scores import SCORES
from legalqa.files import read_json, sha256, write_json
from legalqa.params import DataParams, EvaluateParams, PackageParams, TrainParams, WinnerParams, load_params
from legalqa.problems import Problem, UserError
from legalqa.prompt import Prompt
from legalqa.provenance import CODE, digest_of, git_revision, sha256_of_files
from legalqa.records import read_jsonl
from legalqa.stage import stage
from legalqa.tracking import Run, add_to_run
from legalqa.winner import broken_limits

BASE, ADAPTER, KNOWLEDGE = Path("models/base"), Path("models/adapter"), Path("models/knowledge")
CONVERSATIONS, SPLITS = Path("data/conversations.jsonl"), Path("data/splits")
EVALUATION, PARITY = Path("reports/evaluate"), Path("reports/package/parity.json")


def main(data: DataParams, train: TrainParams, evaluate: EvaluateParams, winner: WinnerParams, params: PackageParams) -> None:
    """Refuse what breaks a limit or does not fit together; else bundle everything that answering needs."""
    identity, training, prompt = Identity.load(BASE), read_json(ADAPTER / "training.json"), Prompt.load(ADAPTER)
    if training["base"]["sha256"] != identity.sha256:
        found, expected = f"trained on weights {training['base']['sha256']}", f"{identity.sha256}, as in {BASE}"
        raise UserError(Problem(f"{ADAPTER}/training.json", found, expected, "dvc repro train"))
    origin = _origin(training["train_key"], identity, prompt, Path(data.source))
    with add_to_run(origin.train_key, "package") as run:
        for name, digest in origin.data.items():
            run.tag(f"sha256.{name}", digest)
        scores = read_json(EVALUATION / "scores.json")
        limits = broken_limits(scores | read_json(EVALUATION / "speed.json"), SCORES, winner)
        _refuse(run, limits, "the model breaks a limit of params.yaml and is not packaged")
        agreement = parity.measure(BASE, ADAPTER, _samples(prompt, winner.arm, params.parity_prompts))
        write_json(PARITY, agreement)
        run.artifact(PARITY)
        _refuse(run, parity.broken(agreement, params), "merged, as it is served, the model is not what was trained")
        config = {"train": train.model_dump(mode="json"), "evaluate": evaluate.model_dump(mode="json")}
        card = render(
            origin=origin,
            params=params,
            rule=winner,
            ledger=read_json("reports/convert/ledger.json"),
            leakage=read_json("reports/split/leakage.json"),
            config=config,
            training=training,
            scores=list(csv.DictReader((EVALUATION / "scores.csv").read_text(encoding="utf-8").splitlines())),
            parity=agreement,
        )
        bundle = Bundle.build(
            "models/bundle",
            parts={"base": BASE, "adapter": ADAPTER, "knowledge": KNOWLEDGE},
            prompt=prompt,
            documents={
                GENERATION_FILE: {"max_new_tokens": evaluate.max_new_tokens, "temperature": 0.0, "weights": evaluate.weights},
                CONFIG_FILE: config,
                SCORES_FILE: scores,
                ITEMS_FILE: _without_questions(read_json(EVALUATION / "items.json"), winner.arm),
            },
            card=card,
            origin=origin,
        )
        run.tag("package", "accepted")
        run.tag("bundle", bundle.version)
        run.artifact(bundle.folder / CARD_FILE)
    print(f"bundle {bundle.version}: {len(bundle.manifest.files)} files, {bundle.size / 1e6:.0f} MB; {agreement}")


def _refuse(run: Run, problems: list[Problem], why: str) -> None:
    """Stop, and let the run say why, so that a refused training shows it beside its scores."""
    if problems:
        run.tag("package", f"refused: {'; '.join(map(str, problems))}")
        raise UserError(problems, why)


def _samples(prompt: Prompt, arm: str, number: int) -> list[tuple[list[int], list[int]]]:
    """Prompts of test questions with the ids of the answers that were scored."""
    answers = {one.key: one.text for one in predictions.read(EVALUATION / "predictions.jsonl") if one.arm == arm}
    asked = [item for item in predictions.items(read_jsonl(SPLITS / "test.jsonl")) if item.key in answers]
    return [(prompt.completion(one.prompt), prompt.encode(answers[one.key])) for one in predictions.spread(asked, number)]


def _without_questions(items: dict[str, Any], served: str) -> dict[str, Any]:
    """What promotion compares: the served arm's and the base's scores, with hashes in place of people's questions."""
    return {
        arm: {
            score: {digest_of(question)[:16]: value for question, value in values.items()} for score, values in scores.items()
        }
        for arm, scores in items.items()
        if arm in ("base", served)
    }


def _origin(train_key: str, identity: Identity, prompt: Prompt, source: Path) -> Origin:
    revision, dirty = git_revision(CODE)
    data = {
        "raw": sha256(source),
        "conversations": sha256(CONVERSATIONS),
        "splits": sha256_of_files([SPLITS]),
        "knowledge": sha256_of_files([KNOWLEDGE]),
    }
    return Origin(train_key=train_key, revision=revision, dirty=dirty, base=identity, template=prompt.name, data=data)


if __name__ == "__main__":
    with stage("package"):
        params = load_params()
        main(params.data, params.train, params.evaluate, params.winner, params.package)
