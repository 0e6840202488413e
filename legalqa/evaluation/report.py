"""report.html: one offline page with the scores, their intervals, and the answers of all arms side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from legalqa.evaluation.predictions import Prediction
from legalqa.evaluation.scores import SCORES
from legalqa.evaluation.table import Table
from legalqa.knowledge import citations
from legalqa.knowledge.statutes import Statutes

PAGE = Path(__file__).with_name("report.html")
PLACE = "{{data}}"

ARMS = {
    "base": ("微调前", "base"),
    "tuned": ("微调后", "tuned"),
    "knowledge": ("知识库", "knowledge base"),
    "base+knowledge": ("微调前 + 知识库", "base with passages"),
    "tuned+knowledge": ("微调后 + 知识库", "tuned with passages"),
    "api": ("外部接口", "external API"),
    "api+knowledge": ("外部接口 + 知识库", "external API with passages"),
    "floor_random": ("随机他题答案", "floor: another question's answer"),
    "floor_boilerplate": ("万能套话", "floor: one boilerplate"),
}


def render(table: Table, answers: Mapping[str, Sequence[Prediction]], statutes: Statutes, settings: Mapping[str, Any]) -> str:
    """The page. Floors stand in the table of scores, not beside the answers."""
    shown = [arm for arm in table.arms if not arm.startswith("floor_")]
    articles: dict[str, str] = {}
    data = {
        "settings": dict(settings),
        "arms": [{"name": arm, "zh": ARMS[arm][0], "en": ARMS[arm][1], "floor": arm not in shown} for arm in table.arms],
        "scores": [
            {"name": s.name, "better": s.better, "zh": s.chinese, "en": s.english}
            for s in SCORES.values()
            if any(row.score == s.name for row in table.rows)
        ],
        "rows": [
            {
                "arm": row.arm,
                "score": row.score,
                "value": _interval(row.estimate.value, row.estimate.low, row.estimate.high),
                "gain": row.gain and _interval(row.gain.value, row.gain.low, row.gain.high),
                "verdict": row.verdict,
                "questions": row.estimate.questions,
            }
            for row in table.rows
        ],
        "questions": [
            {
                "question": first.question,
                "area": first.area,
                "references": [_text(reference, statutes, articles) for reference in first.references],
                "answers": [_text(answers[arm][at].text, statutes, articles) for arm in shown],
                "ends": [answers[arm][at].finish_reason for arm in shown],
                "scores": [round(100 * table.parts[arm][at]["rouge_l_char"].total, 1) for arm in shown],
            }
            for at, first in enumerate(answers[table.arms[0]])
        ],
        "articles": articles,
    }
    payload = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return PAGE.read_text(encoding="utf-8").replace(PLACE, payload)


def _interval(value: float, low: float, high: float) -> list[float]:
    return [round(value, 4), round(low, 4), round(high, 4)]


def _text(text: str, statutes: Statutes, articles: dict[str, str]) -> dict[str, Any]:
    """A text with its citations: where each stands, its status, and the name under which ``articles`` has its wording."""
    marks = []
    for found in citations.check(text, statutes):
        name = found.article.name if found.article else f"{found.citation.law} {found.citation.number}"
        if found.article:
            articles[name] = found.article.text
        marks.append([found.citation.start, found.citation.end, found.status, name])
    return {"text": text, "marks": marks}
