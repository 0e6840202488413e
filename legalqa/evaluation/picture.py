"""scores.png: the chief scores of every arm as points with their intervals, the floors among them."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from legalqa.evaluation.table import Row
from legalqa.files import written_aside

DRAWN = ("rouge_l_char", "citation_f1", "citation_valid", "repetition")


def draw(found: Sequence[Row], path: Path) -> None:
    """One panel a score; the same rows give the same bytes."""
    arms = list(dict.fromkeys(row.arm for row in found))
    figure = Figure(figsize=(11, 0.5 + 0.32 * len(arms)), layout="constrained")
    panels = figure.subplots(1, len(DRAWN), sharey=True)
    for panel, name in zip(panels, DRAWN, strict=True):
        rows = {row.arm: row.estimate for row in found if row.score == name}
        for place, arm in enumerate(arms):
            if arm in rows:
                estimate, colour = rows[arm], "#8a949e" if arm.startswith("floor_") else "#1f5fa8"
                panel.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.5)
                panel.plot([estimate.value], [place], "o", color=colour, markersize=5)
        panel.set_title(name, fontsize=10)
        panel.set_xlim(left=min(0, panel.get_xlim()[0]))
        panel.set_yticks(range(len(arms)), arms, fontsize=9)
        panel.tick_params(axis="x", labelsize=8)
        panel.grid(axis="x", color="#e3e6ea", linewidth=0.8)
        panel.spines[["top", "right", "left"]].set_visible(False)
    panels[0].invert_yaxis()
    with written_aside(path) as aside:
        figure.savefig(aside, dpi=130, metadata={"Software": None}, format="png")
