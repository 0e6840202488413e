"""report.html: one offline page with the scores, their intervals, and the answers of all arms side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from legalqa.evaluation.compare import Estimate
from legalqa.evaluation.predictions import Answers
from legalqa.evaluation.scores import SCORES, Parts
from legalqa.evaluation.table import Row
from legalqa.knowledge import citations
from legalqa.knowledge.statutes import Statutes
from legalqa.params import EvaluateParams

PAGE = Path(__file__).with_name("report.html")
PLACE = "{{data}}"
FLOOR = "floor_"

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


def render(
    rows: Sequence[Row],
    slices: Sequence[Row],
    answers: Answers,
    parts: Mapping[str, Sequence[Parts]],
    statutes: Statutes,
    params: EvaluateParams,
) -> str:
    """The page. Floors stand in the tables of scores, not beside the answers."""
    shown = [arm for arm in answers if not arm.startswith(FLOOR)]
    articles: dict[str, str] = {}
    data = {
        "settings": params.model_dump(mode="json"),
        "arms": [{"name": arm, "zh": ARMS[arm][0], "en": ARMS[arm][1], "floor": arm.startswith(FLOOR)} for arm in answers],
        "scores": [
            {"name": score.name, "better": score.better, "zh": score.chinese, "en": score.english}
            for score in SCORES.values()
            if any(row.score == score.name for row in rows)
        ],
        "rows": [_row(row) for row in rows],
        "slices": [_row(row) for row in slices],
        "questions": [
            {
                "question": first.question,
                "area": first.area,
                "references": [_text(reference, statutes, articles) for reference in first.references],
                "answers": [_text(answers[arm][at].text, statutes, articles) for arm in shown],
                "ends": [answers[arm][at].finish_reason for arm in shown],
                "scores": [round(100 * parts[arm][at]["rouge_l_char"].total, 1) for arm in shown],
            }
            for at, first in enumerate(next(iter(answers.values())))
        ],
        "articles": articles,
    }
    payload = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return PAGE.read_text(encoding="utf-8").replace(PLACE, payload)


def _row(row: Row) -> dict[str, Any]:
    return {
        "arm": row.arm,
        "score": row.score,
        "part": row.part,
        "value": _interval(row.estimate),
        "gain": row.gain and _interval(row.gain),
        "verdict": row.verdict,
        "questions": row.estimate.questions,
    }


def _interval(found: Estimate) -> list[float]:
    return [round(number, 4) for number in (found.value, found.low, found.high)]


def _text(text: str, statutes: Statutes, articles: dict[str, str]) -> dict[str, Any]:
    """A text with its citations: where each stands, its status, and the name under which ``articles`` has its wording."""
    marks = []
    for found in citations.check(text, statutes):
        name = found.article.name if found.article else f"{found.citation.law} {found.citation.number}"
        if found.article:
            articles[name] = found.article.text
        marks.append([found.citation.start, found.citation.end, found.status, name])
    return {"text": text, "marks": marks}
