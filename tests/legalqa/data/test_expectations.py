"""The suite: what is planned is run and reported, and what GX lets through is caught."""

import json

import pandas as pd
import pytest

from legalqa.data.expectations import check_suite, data_docs, run_suite
from legalqa.data.validation import Outcome, blocking, require
from legalqa.params import Expectation
from legalqa.problems import UserError


def _rule(kind: str, **arguments: object) -> Expectation:
    return Expectation.model_validate({"type": kind, **arguments})


def _column(values: list[object], **more: list[object]) -> pd.DataFrame:
    frame = pd.DataFrame({"reply": pd.Series(values, dtype="str"), **more})
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="record")
    return frame


def _one(frame: pd.DataFrame, rule: Expectation) -> Outcome:
    return run_suite(frame, [rule])[0][0]


@pytest.mark.parametrize(
    ("kind", "failing"),
    [
        ("expect_column_values_to_not_be_null", [2]),
        ("expect_column_values_to_look_chinese", [3]),
        ("expect_column_values_to_have_no_mojibake", [4, 5]),
        ("expect_column_values_to_have_no_personal_data", [6]),
    ],
)
def test_each_own_rule_finds_its_records(kind: str, failing: list[int]) -> None:
    values = ["可以起诉。", None, "this is not Chinese", "可\ufffd以起诉", "鍙互璧疯瘔锛屼繚鐣", "电话13800000000可以起诉对方"]
    outcome = _one(_column(values), _rule(kind, column="reply"))
    assert (outcome.status, outcome.records, outcome.checked) == ("failed", failing, 6)


def test_is_best_that_reads_as_nothing_is_found() -> None:
    outcome = _one(
        _column(["1", "0", "最佳", "2", None, "是"]), _rule("expect_column_values_to_read_as_yes_or_no", column="reply")
    )
    assert outcome.records == [3, 4]


def test_all_failing_records_are_told_not_twenty() -> None:
    values = [None if number % 2 else "可以起诉😀" for number in range(100)]
    outcome = _one(_column(values), _rule("expect_column_values_to_not_be_null", column="reply"))
    assert outcome.records == list(range(2, 101, 2))
    assert json.loads(json.dumps(outcome.records, allow_nan=False))


def test_mostly_allows_a_share() -> None:
    frame = _column(["可以"] * 9 + [None])
    rules = [_rule("expect_column_values_to_not_be_null", column="reply", mostly=share) for share in (0.9, 0.95)]
    assert [outcome.status for outcome in run_suite(frame, rules)[0]] == ["passed", "failed"]


def test_a_rule_that_breaks_is_an_error_and_the_others_are_run() -> None:
    rules = [
        _rule("expect_column_values_to_match_regex", column="reply", regex="(", severity="warning"),
        _rule("expect_column_values_to_not_be_null", column="reply"),
        _rule("expect_table_row_count_to_be_between", min_value=1),
    ]
    outcomes, _ = run_suite(_column(["可以"]), rules)
    assert [outcome.status for outcome in outcomes] == ["error", "passed", "passed"]
    assert "missing )" in outcomes[0].error
    assert blocking(outcomes) == outcomes[:1]


def test_every_mistake_of_a_suite_is_said_before_it_runs() -> None:
    rules = [
        _rule("expect_column_values_to_not_be_nul", column="reply"),
        _rule("expect_column_values_to_not_be_null", column="repyl"),
        _rule("expect_column_values_to_be_in_set", column="reply", valueset=["1"]),
    ]
    with pytest.raises(UserError) as caught:
        check_suite(rules, ["reply"])
    said = str(caught.value)
    assert "did you mean expect_column_values_to_not_be_null?" in said
    assert "no column 'repyl'; expected one of reply" in said
    assert "valueset: extra fields not permitted" in said
    with pytest.raises(UserError, match="0 rules"):
        check_suite([], ["reply"])


def test_data_docs_repeat_and_hold_no_cell_text() -> None:
    rule = _rule("expect_column_values_to_have_no_personal_data", column="reply")
    pages = [data_docs(run_suite(_column(["电话13800000000", "可以"]), [rule])[1]) for _ in range(2)]
    assert pages[0] == pages[1]
    assert "13800000000" not in pages[0]
    assert "reply" in pages[0]


@pytest.mark.filterwarnings("ignore:.*row_condition.*:DeprecationWarning", "ignore:The condition_parser.*:DeprecationWarning")
def test_rule_without_figures_and_rule_with_a_condition_on_another_column_run() -> None:
    frame = pd.DataFrame(
        {"reply": ["可以起诉", None, None], "is_best": ["1", "1", "0"]}, index=pd.Index([1, 2, 3], name="record")
    )
    rules = [
        {"type": "expect_column_to_exist", "column": "reply"},
        {
            "type": "expect_column_values_to_not_be_null",
            "column": "reply",
            "row_condition": 'is_best=="1"',
            "condition_parser": "pandas",
        },
    ]
    outcomes, _ = run_suite(frame, [Expectation.model_validate(rule) for rule in rules])
    assert [outcome.status for outcome in outcomes] == ["passed", "failed"]
    assert outcomes[1].records == [2]


PHONE = "电话13800000000可以起诉"


@pytest.mark.parametrize(("what", "count"), [("be_in", 2), ("contain", 1), ("equal", 3)])
def test_rule_about_the_set_of_values_tells_how_many_are_wrong_and_none_of_them(what: str, count: int) -> None:
    rule = _rule(f"expect_column_distinct_values_to_{what}_set", column="reply", value_set=["可以", "起诉"])
    outcome = _one(_column([PHONE, "不行", "可以"]), rule)
    assert (outcome.failing, outcome.observed) == (count, "")
    with pytest.raises(UserError, match=rf"on reply: {count} value\(s\) unexpected or missing; expected value_set") as caught:
        require([outcome], "qa.csv")
    assert PHONE not in str(caught.value)


def test_failing_rule_about_the_set_of_values_is_shown_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    rule = _rule("expect_column_distinct_values_to_be_in_set", column="reply", value_set=["可以", "起诉"])
    assert "distinct values must belong to this set" in data_docs(run_suite(_column(["不行", "可以"]), [rule])[1])
    assert not [record for record in caplog.records if record.levelname != "INFO"]


def test_most_common_cell_gets_into_no_document() -> None:
    rule = _rule("expect_column_most_common_value_to_be_in_set", column="reply", value_set=["可以"])
    outcomes, result = run_suite(_column([PHONE, PHONE, "可以"]), [rule])
    assert (outcomes[0].status, outcomes[0].failing, outcomes[0].observed) == ("failed", 1, "")
    assert PHONE not in data_docs(result)


@pytest.mark.parametrize(
    ("rule", "observed"),
    [
        (_rule("expect_column_unique_value_count_to_be_between", column="reply", min_value=90), "2"),
        (_rule("expect_column_proportion_of_unique_values_to_be_between", column="reply", min_value=0.9), "0.5"),
        (_rule("expect_table_columns_to_match_set", column_set=["a"]), "['reply']"),
    ],
)
def test_numbers_and_column_names_are_observed(rule: Expectation, observed: str) -> None:
    assert _one(_column(["可以", "可以", "不行", "不行"]), rule).observed == observed


def test_rule_about_the_whole_table_tells_what_it_saw_and_what_was_expected() -> None:
    rule = _rule("expect_table_row_count_to_be_between", min_value=100)
    outcome = _one(_column(["可以"] * 35), rule)
    with pytest.raises(UserError, match="on the table: observed 35; expected min_value 100"):
        require([outcome], "qa.csv")
