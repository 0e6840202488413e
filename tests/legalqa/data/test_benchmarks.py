"""Questions of published benchmarks, in the forms they come in."""

import json
from pathlib import Path

import pytest

from legalqa.data.benchmarks import questions
from legalqa.problems import UserError


def test_json_arrays_lines_and_csv(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"instruction": "回答", "question": "甲？"}]), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"input": "乙？"}\n{"input": "丙？"}\n', encoding="utf-8")
    (tmp_path / "c.csv").write_text("input,output\n丁？,答\n", encoding="utf-8-sig")
    found = questions([str(tmp_path / name) for name in ("a.json", "b.jsonl", "c.csv")])
    assert list(found.values()) == [["甲？", "回答"], ["乙？", "丙？"], ["丁？"]]


def test_all_that_cannot_be_used_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('[{"x": 1}]', encoding="utf-8")
    (tmp_path / "broken.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        questions([str(tmp_path / name) for name in ("other.json", "broken.jsonl", "absent.json")])
    assert len(caught.value.problems) == 3


def test_lines_that_hold_no_object_are_no_questions(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text('"甲？"\n["乙？"]\n', encoding="utf-8")
    with pytest.raises(UserError, match="no field holds questions"):
        questions([str(tmp_path / "list.jsonl")])
