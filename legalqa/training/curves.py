"""The curves of a training as a table for `dvc plots` and as a picture."""

import csv
import json
from pathlib import Path
from typing import Any

from legalqa.files import written_aside

COLUMNS = ("step", "epoch", "loss", "dev_loss", "dev_accuracy", "grad_norm", "learning_rate")


def read_log(log: Path) -> list[dict[str, Any]]:
    """One row a step, from the log's lines of that step."""
    rows: dict[int, dict[str, Any]] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        rows.setdefault(values["step"], {}).update(values)
    return [rows[step] for step in sorted(rows)]


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    """loss.csv: what repeats byte for byte, so no speeds."""
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_png(rows: list[dict[str, Any]], path: Path) -> None:
    """loss.png: loss and dev loss above, gradient norm and learning rate below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))

    def draw(axes: Any, column: str, **style: Any) -> None:
        points = [(row["step"], row[column]) for row in rows if column in row]
        axes.plot(*zip(*points, strict=True), label=column, **style)

    draw(upper, "loss", color="tab:blue", linewidth=1)
    draw(upper, "dev_loss", color="tab:red", marker="o")
    upper.set_ylabel("nats per answer token")
    upper.legend()
    draw(lower, "grad_norm", color="tab:gray", linewidth=1)
    lower.set_ylabel("grad_norm")
    lower.set_xlabel("optimiser step")
    rates = lower.twinx()
    draw(rates, "learning_rate", color="tab:green", linewidth=1, linestyle="--")
    rates.set_ylabel("learning_rate")
    with written_aside(path) as aside:
        figure.savefig(aside, dpi=110, format="png", metadata={"Software": None})
