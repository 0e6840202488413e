"""The model card (Hugging Face form), written from what the stages measured."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import ModelCardData

from legalqa.bundle import Origin
from legalqa.params import PackageParams, WinnerParams

Row = Mapping[str, str]

WATCHED = ("empty", "truncated", "repetition", "citation_unknown", "citation_repealed")  # what goes wrong, in percent

USE = """\
Answers everyday questions about Chinese law, in Chinese, with the articles it rests on, and drafts for people who check them.

**It gives no legal advice.** A model of this size invents articles, mixes up statutes and does not know the facts of a case.
Never act on an answer without reading the law or asking a lawyer. Not for decisions about people, not for court documents,
not for any law but that of mainland China, and not for events after the statutes' date."""

SERVING = """\
`bentoml serve` in the project that made it, or `Bundle.open(folder)` in legalqa. The adapter is merged into the base in
float32 and the merged weights are then kept as {weights}; template and generation settings come from this folder. It was scored
by the same engine in the same form, so what is served is what was scored. The adapter alone loads with peft on the base named
above; build prompts with prompt.json, whose template is part of what was trained."""


def render(
    *,
    origin: Origin,
    params: PackageParams,
    rule: WinnerParams,
    ledger: Mapping[str, Any],
    leakage: Mapping[str, Any],
    config: Mapping[str, Any],
    training: Mapping[str, Any],
    scores: Sequence[Row],
    parity: Mapping[str, Any],
) -> str:
    """The card as Markdown. The same inputs give the same text. ``scores``: the rows of reports/evaluate/scores.csv."""
    overall = [row for row in scores if not row["part"]]
    sections = {
        "Use and limits": USE,
        "How to run it": SERVING.format(weights=config["evaluate"]["weights"]) + "\n\n" + _parity(parity),
        "Scores": _scores(overall, rule),
        "Known failures": _failures(overall, rule),
        "Data": _data(ledger, leakage, params),
        "Training": _table(_leaves(config) | _leaves({name: value for name, value in training.items() if name != "base"})),
        "Hashes": _table(_hashes(origin)),
    }
    title = f"# {origin.base.name} tuned on legal questions and answers"
    body = "\n\n".join(f"## {name}\n\n{text}" for name, text in sections.items())
    return f"---\n{_front_matter(origin, params)}\n---\n\n{title}\n\n{body}\n"


def _front_matter(origin: Origin, params: PackageParams) -> str:
    data = ModelCardData(
        language="zh",
        license=params.licence,
        base_model=origin.base.name,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["legal", "lora", "chinese"],
    )
    return str(data.to_yaml())


def _scores(rows: Sequence[Row], rule: WinnerParams) -> str:
    """Scores down, arms across, floors among them, so that nobody reads a score without them; then the gain over base."""
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    cells = {(row["score"], row["arm"]): row for row in rows}
    table = [
        [score, *(_value(cells.get((score, arm))) for arm in arms), *_gain(cells.get((score, rule.arm)))]
        for score in dict.fromkeys(row["score"] for row in rows)
    ]
    chief = cells[rule.primary, rule.arm]
    text = (
        f"On {chief['questions']} held-out questions; `{rule.arm}` is what is served, `{rule.primary}` decides "
        f"({_value(chief)}, interval {_short(chief['low'])} to {_short(chief['high'])}). Gains by paired bootstrap."
    )
    return f"{text}\n\n{_grid(['score', *arms, f'{rule.arm} - base', 'verdict'], table)}"


def _parity(parity: Mapping[str, Any]) -> str:
    return (
        f"Merged in float32 it writes {parity['same_tokens']:.2%} of the greedy tokens that it writes beside its base "
        f"({parity['prompts']} test questions, {parity['tokens']} tokens; largest difference of a logit "
        f"{parity['largest_logit_difference']:g}, while the adapter itself moves them by up to {parity['adapter_effect']:g})."
    )


def _failures(rows: Sequence[Row], rule: WinnerParams) -> str:
    lines = [f"- {row['score']}: {_value(row)}" for row in rows if row["arm"] == rule.arm and row["score"] in WATCHED]
    lines.append("- it may name articles that don't exist or are repealed; the service marks citations it can't find")
    return "\n".join(lines)


def _data(ledger: Mapping[str, Any], leakage: Mapping[str, Any], params: PackageParams) -> str:
    dropped = ledger["dropped"]
    rows = [
        ["read", str(ledger["read"])],
        ["kept", str(ledger["kept"])],
        *([f"dropped: {k}", str(v)] for k, v in sorted(dropped.items())),
    ]
    text = [
        f"Licence: {params.data_licence}. Every row of the raw file is accounted for:",
        _grid(["rows", ""], rows),
        "The split:",
    ]
    return "\n\n".join([*text, _table(_leaves(leakage))])


def _hashes(origin: Origin) -> dict[str, str]:
    base = {f"base {name}": str(value) for name, value in origin.base.model_dump().items()}
    data = {f"sha256 of {name}": value for name, value in origin.data.items()}
    revision = origin.revision + (" with uncommitted changes" if origin.dirty else "")
    return {"train_key": origin.train_key, "git revision": revision, "prompt template": origin.template, **base, **data}


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    leaves: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            leaves |= _leaves(value, f"{prefix}{key}.")
        elif not isinstance(value, list) or len(value) <= 8:
            leaves[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return leaves


def _table(values: Mapping[str, str]) -> str:
    return _grid(["what", "value"], [[name, value] for name, value in values.items()])


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)


def _value(row: Row | None) -> str:
    return _short(row["value"]) if row else "-"


def _gain(row: Row | None) -> tuple[str, str]:
    if row is None or not row["gain"]:
        return "", ""
    return f"{float(row['gain']):+.2f} [{float(row['gain_low']):+.2f}, {float(row['gain_high']):+.2f}]", row["verdict"]


def _short(number: str) -> str:
    return f"{float(number):.2f}"
