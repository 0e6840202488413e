import csv
import io

import pytest

from legalqa.evaluation import table
from legalqa.evaluation.compare import Bootstrap, Counted
from legalqa.evaluation.scores import Parts

QUESTIONS = 20


def _parts(rouge: float, **more: float) -> list[Parts]:
    return [
        {"rouge_l_char": Counted(rouge + n / 1000)} | {name: Counted(value) for name, value in more.items()}
        for n in range(QUESTIONS)
    ]


@pytest.fixture
def rows() -> list[table.Row]:
    arms = {
        "base": _parts(0.1, repetition=0.5, loss=2.0, perplexity=2.0, length_ratio=2.0),
        "tuned": _parts(0.2, repetition=0.1, loss=1.0, perplexity=1.0, length_ratio=1.0),
        "knowledge": _parts(0.1, repetition=0.9),
    }
    return table.rows(arms, Bootstrap(QUESTIONS, 200, 0.95, seed=1))


def test_rows_say_who_is_better_by_the_direction_of_the_score(rows: list[table.Row]) -> None:
    verdicts = {(row.arm, row.score): row.verdict for row in rows}
    assert verdicts["base", "rouge_l_char"] == ""
    assert verdicts["tuned", "rouge_l_char"] == "better"
    assert verdicts["tuned", "repetition"] == "better"
    assert verdicts["knowledge", "repetition"] == "worse"
    assert verdicts["knowledge", "rouge_l_char"] == "no difference"
    assert verdicts["tuned", "length_ratio"] == "different"
    assert ("knowledge", "loss") not in verdicts


def test_values_are_in_the_units_of_the_score(rows: list[table.Row]) -> None:
    flat = table.flat(rows)
    assert flat["tuned.rouge_l_char"] == pytest.approx(20.95)
    assert flat["base.loss"] == 2.0
    assert flat["base.perplexity"] == pytest.approx(7.3891)
    assert flat["base.length_ratio"] == 2.0


def test_items_leave_out_questions_that_say_nothing() -> None:
    parts: list[Parts] = [{"citation_valid": Counted(1, 2)}, {"citation_valid": Counted(0, 0)}]
    assert table.items(["问一", "问二"], {"base": parts}) == {"base": {"citation_valid": {"问一": 50.0}}}


def test_csv_has_a_line_a_row(rows: list[table.Row]) -> None:
    lines = list(csv.DictReader(io.StringIO(table.as_csv(rows))))
    assert len(lines) == len(rows)
    tuned = next(line for line in lines if (line["arm"], line["score"]) == ("tuned", "rouge_l_char"))
    assert float(tuned["gain"]) == pytest.approx(10)
    assert tuned["verdict"] == "better"
    assert lines[0]["gain"] == ""


def test_text_marks_what_differs_beyond_chance(rows: list[table.Row]) -> None:
    line = next(line for line in table.as_text(rows, QUESTIONS).splitlines() if line.startswith("rouge_l_char"))
    assert line.split() == ["rouge_l_char", "10.95", "20.95*", "10.95"]
    assert "20 questions" in table.as_text(rows, QUESTIONS)
