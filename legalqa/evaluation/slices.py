"""Where an arm is good and where not: the chief scores by area of law, length of question and answer, and citations."""

from collections.abc import Mapping, Sequence

import numpy as np

from legalqa.evaluation.compare import Bootstrap
from legalqa.evaluation.predictions import Item
from legalqa.evaluation.scores import Parts
from legalqa.evaluation.table import Row, rows
from legalqa.knowledge import citations
from legalqa.knowledge.statutes import Statutes
from legalqa.params import EvaluateParams

SCORES = ("rouge_l_char", "citation_f1", "repetition")
LEAST = 5  # questions: fewer say nothing


def slices(
    questions: Sequence[Item], parts: Mapping[str, Sequence[Parts]], statutes: Statutes, params: EvaluateParams
) -> list[Row]:
    """Rows of every slice that has enough questions; lengths are cut at their median."""
    members: dict[str, list[int]] = {}
    asked = float(np.median([len(item.question) for item in questions]))
    told = float(np.median([len(item.references[0]) for item in questions]))
    for at, item in enumerate(questions):
        cites = bool(citations.keys(item.references[0], statutes))
        for name in (
            f"area: {item.area}" if item.area else "",
            f"question: {'long' if len(item.question) > asked else 'short'}",
            f"reference: {'long' if len(item.references[0]) > told else 'short'}",
            f"reference: {'cites' if cites else 'does not cite'}",
        ):
            members.setdefault(name, []).append(at)
    found = []
    for name in sorted(members.keys() - {""}):
        if len(members[name]) >= LEAST:
            bootstrap = Bootstrap(len(members[name]), params.resamples, params.confidence, params.seed)
            chosen = {arm: [{score: of[at][score] for score in SCORES} for at in members[name]] for arm, of in parts.items()}
            found += rows(chosen, bootstrap, name)
    return found
