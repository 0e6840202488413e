"""All scores of all arms with their intervals: as numbers for DVC, as CSV, and as the table at the end of the run."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from legalqa.evaluation.compare import Bootstrap, Estimate
from legalqa.evaluation.predictions import Prediction
from legalqa.evaluation.scores import SCORES, Parts, score
from legalqa.knowledge.statutes import Statutes

RIVAL = "base"
SHOWN = (
    "rouge_l_char",
    "rouge_l_word",
    "bleu_zh",
    "chrf",
    "citation_f1",
    "citation_valid",
    "repetition",
    "truncated",
    "perplexity",
)


@dataclass(frozen=True)
class Row:
    """One score of one arm; ``gain`` is the paired difference to the base (None for the base, and where it has none)."""

    arm: str
    score: str
    estimate: Estimate
    gain: Estimate | None

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


class Table:
    """Scores of every arm over the same questions in the same order."""

    def __init__(self, answers: Mapping[str, Sequence[Prediction]], statutes: Statutes, bootstrap: Bootstrap) -> None:
        """``answers``: arm -> one prediction a question. Raises ValueError when the arms answered different questions."""
        keys = {arm: [p.key for p in predictions] for arm, predictions in answers.items()}
        self.keys = next(iter(keys.values()))
        if any(theirs != self.keys for theirs in keys.values()):
            raise ValueError("the arms answered different questions")
        self.arms = list(answers)
        self.parts: dict[str, list[Parts]] = {arm: [score(p, statutes) for p in answers[arm]] for arm in self.arms}
        self.rows = [row for name in SCORES for arm in self.arms if (row := self._row(arm, name, bootstrap)) is not None]

    def _row(self, arm: str, name: str, bootstrap: Bootstrap) -> Row | None:
        ours = [parts.get(name) for parts in self.parts[arm]]
        theirs = [parts.get(name) for parts in self.parts.get(RIVAL, [])]
        scale = SCORES[name].scale
        mine = [part for part in ours if part is not None]
        if len(mine) < len(ours) or (estimate := bootstrap.score(mine, scale)) is None:
            return None
        base = [part for part in theirs if part is not None]
        comparable = arm != RIVAL and len(base) == len(mine)
        return Row(arm, name, estimate, bootstrap.difference(mine, base, scale) if comparable else None)

    def flat(self) -> dict[str, float]:
        """ "arm.score" -> value: what DVC and MLflow compare."""
        return {f"{row.arm}.{row.score}": round(row.estimate.value, 4) for row in self.rows} | {"questions": len(self.keys)}

    def items(self) -> dict[str, dict[str, dict[str, float]]]:
        """arm -> score -> question -> value, where that question says something: for paired comparisons with later models."""
        return {
            arm: {
                name: {
                    key: round(float(SCORES[name].scale(part.total / part.weight)), 4)  # type: ignore[arg-type]
                    for key, parts in zip(self.keys, self.parts[arm], strict=True)
                    if (part := parts.get(name)) is not None and part.weight
                }
                for name in SCORES
                if any(row.arm == arm and row.score == name for row in self.rows)
            }
            for arm in self.arms
        }

    def csv(self) -> str:
        """One line a score of an arm: value, interval, difference to the base with its interval, verdict."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(
            ("score", "arm", "value", "low", "high", "questions", "gain_over_base", "gain_low", "gain_high", "verdict")
        )
        for row in self.rows:
            writer.writerow(
                (row.score, row.arm, *_numbers(row.estimate), row.estimate.questions, *_numbers(row.gain), row.verdict)
            )
        return out.getvalue()

    def text(self) -> str:
        """What the terminal shows: the chief scores, `*` where the difference to the base is clear of chance."""
        arms = self.arms
        width = max(12, *(len(arm) + 2 for arm in arms))
        lines = [f"{'':16}" + "".join(f"{arm:>{width}}" for arm in arms)]
        cells = {(row.score, row.arm): row for row in self.rows}
        for name in SHOWN:
            if any((name, arm) in cells for arm in arms):
                lines.append(f"{name:16}" + "".join(_cell(cells.get((name, arm)), width) for arm in arms))
        lines.append(f"{len(self.keys)} questions; percent but for perplexity; * differs from base beyond chance (95 %)")
        return "\n".join(lines)


def _numbers(estimate: Estimate | None) -> tuple[str, str, str]:
    return tuple(f"{x:.4f}" for x in (estimate.value, estimate.low, estimate.high)) if estimate else ("", "", "")  # type: ignore[return-value]


def _cell(row: Row | None, width: int) -> str:
    if row is None:
        return f"{'-':>{width - 1}} "
    mark = "*" if row.gain is not None and row.gain.clear else " "
    return f"{row.estimate.value:>{width - 1}.2f}{mark}"
