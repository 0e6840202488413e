"""All scores of all arms with their intervals: as numbers for DVC, as CSV, and as the table at the end of the run."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from legalqa.evaluation.compare import Bootstrap, Counted, Estimate
from legalqa.evaluation.scores import SCORES, Parts

RIVAL = "base"
SHOWN = (
    "rouge_l_char",
    "rouge_l_word",
    "bleu_zh",
    "chrf",
    "similarity_e5_small",
    "citation_f1",
    "citation_valid",
    "repetition",
    "truncated",
    "perplexity",
    "probe_accuracy",
)
LABEL = max(map(len, SHOWN)) + 1


@dataclass(frozen=True)
class Row:
    """One score of one arm; ``gain`` is the paired difference to the base (None for the base, and where it has none).

    ``part`` names the slice of the questions that it is about; "" is all of them.
    """

    arm: str
    score: str
    estimate: Estimate
    gain: Estimate | None
    part: str = ""

    @property
    def verdict(self) -> str:
        """better, worse, different (where neither is good), or no difference; empty without a rival."""
        if self.gain is None:
            return ""
        if not self.gain.clear:
            return "no difference"
        better = SCORES[self.score].better
        if not better:
            return "different"
        return "better" if (self.gain.value > 0) == (better == "more") else "worse"


def rows(parts: Mapping[str, Sequence[Parts]], bootstrap: Bootstrap, part: str = "") -> list[Row]:
    """A row for every score of every arm that says something. ``parts``: arm -> scores of the same questions, in order."""
    found = []
    for name, meaning in SCORES.items():
        columns = {arm: column for arm, of in parts.items() if (column := _column(of, name))}
        for arm, ours in columns.items():
            estimate = bootstrap.score(ours, meaning.scale)
            theirs = columns.get(RIVAL) if arm != RIVAL else None
            gain = bootstrap.difference(ours, theirs, meaning.scale) if theirs else None
            if estimate is not None:
                found.append(Row(arm, name, estimate, gain, part))
    return found


def flat(found: Sequence[Row]) -> dict[str, float]:
    """ "arm.score" -> value: what DVC and MLflow compare."""
    return {f"{row.arm}.{row.score}": round(row.estimate.value, 4) for row in found}


def items(keys: Sequence[str], parts: Mapping[str, Sequence[Parts]]) -> dict[str, dict[str, dict[str, float]]]:
    """arm -> score -> question -> value, where that question says something: for paired comparisons with later models."""
    return {
        arm: {
            name: {key: round(_value(name, part), 4) for key, part in zip(keys, column, strict=True) if part.weight}
            for name in SCORES
            if (column := _column(of, name))
        }
        for arm, of in parts.items()
    }


def as_csv(found: Sequence[Row]) -> str:
    """One line a score of an arm: value, interval, difference to the base with its interval, verdict."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("part", "score", "arm", "value", "low", "high", "questions", "gain", "gain_low", "gain_high", "verdict"))
    for row in found:
        about = (row.part, row.score, row.arm)
        writer.writerow((*about, *_numbers(row.estimate), row.estimate.questions, *_numbers(row.gain), row.verdict))
    return out.getvalue()


def as_text(found: Sequence[Row], questions: int) -> str:
    """What the terminal shows: the chief scores, `*` where the difference to the base is clear of chance."""
    arms = list(dict.fromkeys(row.arm for row in found))
    cells = {(row.score, row.arm): row for row in found}
    width = max(11, *(len(arm) + 2 for arm in arms))
    lines = [" " * LABEL + "".join(f"{arm:>{width}}" for arm in arms)]
    for name in SHOWN:
        if any((name, arm) in cells for arm in arms):
            lines.append(f"{name:{LABEL}}" + "".join(_cell(cells.get((name, arm)), width) for arm in arms))
    lines.append(f"{questions} questions; percent but for perplexity; * differs from base beyond chance")
    return "\n".join(lines)


def _column(of: Sequence[Parts], name: str) -> list[Counted]:
    """The score of every question; empty when one lacks it."""
    column = [parts[name] for parts in of if name in parts]
    return column if len(column) == len(of) else []


def _value(name: str, part: Counted) -> float:
    return float(SCORES[name].scale(np.array(part.total / part.weight)))


def _numbers(estimate: Estimate | None) -> tuple[str, ...]:
    return tuple(f"{x:.4f}" for x in (estimate.value, estimate.low, estimate.high)) if estimate else ("", "", "")


def _cell(row: Row | None, width: int) -> str:
    if row is None:
        return f"{'-':>{width - 1}} "
    mark = "*" if row.gain is not None and row.gain.clear else " "
    return f"{row.estimate.value:>{width - 1}.2f}{mark}"
