"""The general probe: what tuning on law made a model forget. Sums, reading, everyday Chinese, written for this project."""

import json
import re
from pathlib import Path

from legalqa.evaluation.compare import Counted
from legalqa.evaluation.predictions import Item, Prediction
from legalqa.evaluation.scores import Parts
from legalqa.records import Message

QUESTIONS = Path(__file__).with_name("probe.jsonl")


def items() -> list[Item]:
    """The questions; their references are the answers that count as right, the first one carries the loss."""
    lines = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    return [
        Item(
            key=line["question"],
            prompt=(Message(role="user", content=line["question"]),),
            references=tuple(line["answers"]),
            area=line["kind"],
        )
        for line in lines
    ]


def score(prediction: Prediction) -> Parts:
    """Right when one of the answers stands in the text, a number not as a part of a longer one."""
    parts = {"probe_accuracy": Counted(any(_says(prediction.text, answer) for answer in prediction.references))}
    if prediction.answer_tokens:
        parts["probe_loss"] = Counted(prediction.answer_loss, prediction.answer_tokens)
    return parts


def _says(text: str, answer: str) -> bool:
    if answer.isdigit():
        return answer in re.findall(r"\d+", text.replace(",", ""))
    return answer in text
