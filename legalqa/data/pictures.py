"""What a set of conversations looks like: tables for `dvc plots`, the same as PNG files, and a data card in Markdown."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from legalqa.files import write_text, written_aside

BIN = 20  # characters
LAST_BIN = 600  # longer texts are counted there
MOST_REPLIES = 10  # questions with more are counted there


def replies_per_question(asked: pd.Series) -> pd.DataFrame:
    """How many questions have one reply, two, ... ``asked``: the question's key of every record that was read."""
    counts = asked[asked != ""].value_counts(sort=False).clip(upper=MOST_REPLIES).value_counts().sort_index()
    return pd.DataFrame({"replies_per_question": counts.index.astype(str), "questions": counts.to_numpy()})


def tables(answers: pd.DataFrame, replies: pd.DataFrame, ledger: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """One table a picture. ``answers``: prompt, reply, area. ``replies``: of `replies_per_question`."""
    areas = answers["area"].value_counts().rename_axis("area").rename("conversations").reset_index()
    reasons = {"kept": ledger["kept"], **dict(sorted(ledger["dropped"].items(), key=lambda item: -item[1]))}
    return {
        "lengths": _lengths(answers),
        "reasons": pd.DataFrame({"fate": reasons.keys(), "records": reasons.values()}),
        "areas": areas.sort_values(["conversations", "area"], ascending=[False, True]),
        "replies": replies,
    }


def _lengths(answers: pd.DataFrame) -> pd.DataFrame:
    edges = np.arange(0, LAST_BIN + BIN, BIN)
    counts = {
        name: np.histogram(answers[column].str.len().clip(upper=LAST_BIN - 1), bins=edges)[0]
        for name, column in (("questions", "prompt"), ("replies", "reply"))
    }
    return pd.DataFrame({"characters_from": edges[:-1], **counts})


def _quantiles(texts: pd.Series) -> list[int]:
    return texts.str.len().quantile([0.05, 0.5, 0.95]).round().astype(int).tolist()


def draw(folder: Path, found: dict[str, pd.DataFrame]) -> None:
    """Write each table as CSV and as PNG into ``folder``."""
    for name, table in found.items():
        write_text(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        if name == "lengths":
            for column in ("questions", "replies"):
                axes.stairs(table[column], [*table["characters_from"], LAST_BIN], label=column, fill=True, alpha=0.5)
            axes.set(xlabel=f"characters (the last bar: {LAST_BIN - BIN} and more)", ylabel="conversations")
            axes.legend()
        elif name == "replies":
            axes.bar(table["replies_per_question"], table["questions"])
            axes.set(xlabel=f"replies to one question ({MOST_REPLIES} = {MOST_REPLIES} and more)", ylabel="questions")
        else:
            label, count = table.columns
            bars = axes.barh(table[label][::-1], table[count][::-1])
            axes.bar_label(bars, padding=3)
            axes.set(xlabel=count)
            axes.margins(x=0.1)
        with written_aside(folder / f"{name}.png") as aside:
            figure.savefig(aside, dpi=110, metadata={"Software": None})  # the version would change the bytes


def card(path: str, digest: str, ledger: dict[str, Any], found: dict[str, pd.DataFrame], answers: pd.DataFrame) -> str:
    """The data card: what the conversations are, how they came about, what to know before using them."""
    rows = [f"| {fate} | {count} |" for fate, count in found["reasons"].to_numpy()]
    rules = [f"| {rule} | {count} |" for rule, count in ledger["rules"].items()]
    repealed = ledger["rules"].get("repealed_law", 0)
    areas = ", ".join(f"{area} {count}" for area, count in found["areas"].to_numpy())
    masked = sum(count for rule, count in ledger["rules"].items() if rule.startswith("privacy."))
    long = {name: ", ".join(map(str, _quantiles(answers[name]))) for name in ("prompt", "reply")}
    return f"""# Data card

Made by the convert stage from `{path}` (sha256 `{digest}`).

{ledger["read"]} records read = {ledger["kept"]} kept + {sum(ledger["dropped"].values())} dropped. They make
{ledger["conversations"]} conversations in {ledger["groups"]} question groups (questions alike enough to belong into one split).
{ledger["conflicts"]["count"]} questions have best replies that differ.

| fate of the records | count |
|---|---|
{chr(10).join(rows)}

| rule that changed or flagged a record (kept or dropped) | records |
|---|---|
{chr(10).join(rules)}

Lengths in characters (5 %, half, 95 % are shorter): questions {long["prompt"]}; replies {long["reply"]}.

Areas of law, guessed from words: {areas}.

## Before you use it
* Personal data is masked by rule ({masked} findings here). Names of people and companies are not masked, and no rule
  finds everything.
* Replies are as good as their writers. {repealed} records seem to rest on a law repealed on 2021-01-01 (婚姻法 ...).
* The fate of every record is in `ledger.csv`. The licence is that of the source file.
"""
