"""models/{base,adapter,knowledge}, reports of all stages -> models/bundle, reports/package/parity.json: the gate."""

from pathlib import Path
from typing import Any

from legalqa import parity
from legalqa.base.identity import Identity
from legalqa.bundle import GENERATION_FILE, ITEMS_FILE, SCORES_FILE, Bundle, Origin
from legalqa.card import render
from legalqa.files import read_json, sha256, write_json
from legalqa.params import DataParams, EvaluateParams, PackageParams, WinnerParams, load_params
from legalqa.problems import UserError
from legalqa.prompt import Prompt
from legalqa.provenance import CODE, git_revision, sha256_of_files
from legalqa.records import read_jsonl
from legalqa.stage import stage
from legalqa.winner import broken_limits

BASE, ADAPTER, KNOWLEDGE = Path("models/base"), Path("models/adapter"), Path("models/knowledge")
CONVERSATIONS, SPLITS = Path("data/conversations.jsonl"), Path("data/splits")
EVALUATION = Path("reports/evaluate")


def main(data: DataParams, evaluate: EvaluateParams, winner: WinnerParams, params: PackageParams) -> None:
    """Refuse what breaks a limit or does not fit together; else bundle everything that answering needs."""
    scores = read_json(EVALUATION / "scores.json")
    if problems := broken_limits(scores, winner):
        raise UserError(problems, "the model breaks a limit of params.yaml and is not packaged")
    prompt = Prompt.load(ADAPTER)
    agreement = parity.measure(BASE, ADAPTER, _samples(prompt, params.parity_prompts))
    origin = _origin(prompt, Path(data.source))
    card = render(
        origin=origin,
        params=params,
        rule=winner,
        ledger=read_json("reports/convert/ledger.json"),
        leakage=read_json("reports/split/leakage.json"),
        training=read_json(ADAPTER / "training.json"),
        scores=scores,
        parity=agreement,
    )
    bundle = Bundle.build(
        "models/bundle",
        parts={"base": BASE, "adapter": ADAPTER, "knowledge": KNOWLEDGE},
        prompt=prompt,
        documents={
            GENERATION_FILE: {"max_new_tokens": evaluate.max_new_tokens, "temperature": 0.0},
            SCORES_FILE: scores,
            ITEMS_FILE: read_json(EVALUATION / "items.json"),
        },
        card=card,
        origin=origin,
    )
    write_json("reports/package/parity.json", agreement)
    print(f"bundle {bundle.version}: {len(bundle.manifest.files)} files, {bundle.size / 1e6:.0f} MB; {agreement}")


def _samples(prompt: Prompt, number: int) -> list[tuple[list[int], list[int]]]:
    """Prompts of test questions with the ids of their answers."""
    asked = read_jsonl(SPLITS / "test.jsonl")[:number]
    return [(prompt.completion(c.prompt), prompt.encode(c.answer)) for c in asked]


def _origin(prompt: Prompt, source: Path) -> Origin:
    revision, dirty = git_revision(CODE)
    training: dict[str, Any] = read_json(ADAPTER / "training.json")
    return Origin(
        train_key=training["train_key"],
        revision=revision,
        dirty=dirty,
        base=Identity.load(BASE),
        template=prompt.name,
        data={
            "raw": sha256(source),
            "conversations": sha256(CONVERSATIONS),
            "splits": sha256_of_files([SPLITS]),
            "knowledge": sha256_of_files([KNOWLEDGE]),
        },
    )


if __name__ == "__main__":
    with stage("package"):
        params = load_params()
        main(params.data, params.evaluate, params.winner, params.package)
