"""The validation stage: what it writes, what stops it."""

import json
from pathlib import Path

import pandas as pd
import pytest

import stages.validate
from legalqa.files import read_json
from legalqa.params import DataParams, ValidateParams, load_params
from legalqa.problems import UserError
from tests.legalqa.data.conftest import lines

SHIPPED = load_params(Path(__file__).resolve().parents[2] / "params.yaml").validate_


def _validate(text: str, params: ValidateParams = SHIPPED, **given: str) -> None:
    Path("qa.csv").write_text(text, encoding="utf-8")
    stages.validate.main(DataParams.model_validate({"source": "qa.csv", **given}), params)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_clean_file_passes_with_all_rules_run() -> None:
    _validate("\n".join(lines(32)))
    summary = read_json("reports/validate/summary.json")
    assert summary["success"]
    count = len(SHIPPED.expectations)
    assert summary["rules"] == {"planned": count, "run": count, "passed": count, "failed": 0, "error": 0}
    assert summary["records"]["read"] == 32
    assert summary["source"]["encoding"] == "utf-8-sig"


def test_reports_need_nothing_from_outside_and_repeat() -> None:
    outputs = ["summary.json", "rejected.csv", "report.html", "docs/index.html"]
    _validate("\n".join(lines(32)))
    before = {name: Path("reports/validate", name).read_bytes() for name in outputs}
    _validate("\n".join(lines(32)))
    assert {name: Path("reports/validate", name).read_bytes() for name in outputs} == before
    assert "http" not in before["report.html"].decode()


def test_fifty_blank_replies_are_all_named_and_stop_the_pipeline(capsys: pytest.CaptureFixture[str]) -> None:
    blank = ["", "  ", "\u3000", "nan"]
    rows = [f"问{number}怎么办？,,{blank[number % 4] if number % 2 else '可以起诉😀。'},1" for number in range(100)]
    with pytest.raises(UserError) as caught:
        _validate("\n".join([lines()[0], *rows]))
    assert "50 of 100 records fail: records 2, 4, 6, 8, 10, 12, 14, 16, 18, 20 and 40 more" in str(caught.value)
    summary = json.loads(Path("reports/validate/summary.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert not summary["success"]
    assert summary["expectations"][1]["records"] == list(range(2, 101, 2))
    rejected = pd.read_csv("reports/validate/rejected.csv")
    assert rejected.loc[rejected["rule"] == 2, "record"].tolist() == list(range(2, 101, 2))
    assert rejected.loc[rejected["rule"] == 2, "line"].tolist() == list(range(3, 102, 2))
    assert "critical: expect_column_values_to_not_be_null on reply" in capsys.readouterr().out


def test_missing_and_unreadable_is_best_are_named() -> None:
    _validate("\n".join(lines(8)).replace("起诉。,1", "起诉。,最佳", 1).replace("仲裁。,1", "仲裁。,", 1))
    summary = read_json("reports/validate/summary.json")
    assert summary["records"]["best"] == 6
    assert len(summary["records"]["best_unreadable_numbers"]) == 1
    failed = {entry["expectation"]: entry["records"] for entry in summary["expectations"] if entry["status"] == "failed"}
    assert failed == {
        "expect_column_values_to_not_be_null": [1],
        "expect_column_values_to_read_as_yes_or_no": summary["records"]["best_unreadable_numbers"],
    }


def test_dropped_broken_records_are_counted_and_listed() -> None:
    text = "\n".join([*lines(8), "只有,两格"])
    with pytest.raises(UserError, match="line 10, record 9: has 2 fields"):
        _validate(text)
    assert not Path("reports").exists()
    _validate(text, bad_records="drop")
    assert read_json("reports/validate/summary.json")["records"]["broken_numbers"] == [9]
    assert "9,10,critical" in Path("reports/validate/rejected.csv").read_text(encoding="utf-8")


def test_mistyped_rule_is_said_before_the_file_is_read() -> None:
    wrong = ValidateParams.model_validate({"expectations": [{"type": "expect_column_values_to_be_nul", "column": "reply"}]})
    with pytest.raises(UserError, match="no such expectation"):
        stages.validate.main(DataParams(source="absent.csv"), wrong)


def test_a_huge_number_of_failing_records_keeps_the_summary_small() -> None:
    rows = [f"问{number},,,1" for number in range(20_000)]
    with pytest.raises(UserError):
        _validate("\n".join([lines()[0], *rows]))
    entry = read_json("reports/validate/summary.json")["expectations"][1]
    assert (entry["failing"], len(entry["records"]), entry["more"]) == (20_000, 10_000, 10_000)
