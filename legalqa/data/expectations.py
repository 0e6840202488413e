"""The suite of params.yaml, checked and run by Great Expectations 1.x, with the rules that GX does not have."""

import difflib
import re
from numbers import Number
from typing import Any

import great_expectations as gx
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations import registry
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView
from great_expectations.validator.validation_statistics import calc_validation_statistics
from tqdm import tqdm

from legalqa.data import encodings, privacy
from legalqa.data.cells import matches
from legalqa.data.reading import read_best
from legalqa.data.validation import Outcome
from legalqa.params import Expectation
from legalqa.problems import Problem, UserError

SUPPORTED = "1."
VOLATILE = re.compile(r"(?:\?d=)?\d{8}T[\d.]+Z|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class _LooksChinese(ColumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_values.look_chinese"

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series, **_: Any) -> pd.Series:  # noqa: N805
        array = pa.array(column, pa.large_string())
        long = pc.utf8_length(array).to_numpy()
        foreign = pc.utf8_length(pc.replace_substring_regex(array, r"\p{Han}+", "")).to_numpy()
        return pd.Series((foreign < long) & (4 * foreign <= 3 * long), index=column.index)


class ExpectColumnValuesToLookChinese(ColumnMapExpectation):  # type: ignore[misc]
    """At least a quarter of the characters are Chinese."""

    map_metric = "column_values.look_chinese"


class _NoMojibake(ColumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_values.no_mojibake"

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series, **_: Any) -> pd.Series:  # noqa: N805
        return ~matches(column, encodings.MOJIBAKE)


class ExpectColumnValuesToHaveNoMojibake(ColumnMapExpectation):  # type: ignore[misc]
    """No trace of text decoded in a wrong encoding: replacement characters, Latin-1 pairs, GBK readings of UTF-8."""

    map_metric = "column_values.no_mojibake"


class _NoPersonalData(ColumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_values.no_personal_data"

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series, **_: Any) -> pd.Series:  # noqa: N805
        return ~privacy.holds_any(column)


class ExpectColumnValuesToHaveNoPersonalData(ColumnMapExpectation):  # type: ignore[misc]
    """No phone, identity or card number, e-mail, QQ, WeChat, plate or exact address."""

    map_metric = "column_values.no_personal_data"


class _ReadsAsYesOrNo(ColumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_values.read_as_yes_or_no"

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series, **_: Any) -> pd.Series:  # noqa: N805
        readable = {value: read_best(value) is not None for value in column.unique()}
        return column.map(readable).astype(bool)


class ExpectColumnValuesToReadAsYesOrNo(ColumnMapExpectation):  # type: ignore[misc]
    """The value is one of the words for yes and no that is_best may hold."""

    map_metric = "column_values.read_as_yes_or_no"


def check_suite(expectations: list[Expectation], columns: list[str]) -> list[Any]:
    """GX expectations for the declared ones. Raises UserError with every unknown rule, argument and column, or for no rule."""
    if not gx.__version__.startswith(SUPPORTED):
        raise UserError(Problem("great_expectations", f"version {gx.__version__}", "1.x", "install the pinned requirements"))
    if not expectations:
        raise UserError(
            Problem(
                "params.yaml: validate.expectations", "0 rules", "at least one", "a suite without rules would pass anything"
            )
        )
    known = registry.list_registered_expectation_implementations()
    built, problems = [], []
    for number, expectation in enumerate(expectations, start=1):
        where = f"params.yaml: validate.expectations, rule {number} ({expectation.type})"
        if expectation.type not in known:
            near = difflib.get_close_matches(expectation.type, known, n=1)
            problems.append(
                Problem(
                    where,
                    "no such expectation",
                    "a name of Great Expectations or of this project",
                    f"did you mean {near[0]}?" if near else "",
                )
            )
            continue
        arguments = expectation.arguments()
        problems += [
            Problem(where, f"no column {name!r}", f"one of {', '.join(columns)}")
            for name in _columns(arguments)
            if name not in columns
        ]
        try:
            built.append(
                registry.get_expectation_impl(expectation.type)(
                    **arguments, severity=expectation.severity, meta={"rule": number}
                )
            )
        except ValueError as error:  # pydantic's
            details = error.errors() if hasattr(error, "errors") else [{"loc": (), "msg": str(error)}]
            problems += [Problem(where, f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}") for detail in details]
    if problems:
        raise UserError(problems, f"params.yaml: {len(problems)} problem(s) in validate.expectations, nothing was checked")
    return built


def _columns(arguments: dict[str, Any]) -> list[str]:
    """The columns that an expectation names."""
    single = [arguments[key] for key in ("column", "column_A", "column_B") if key in arguments]
    return single + list(arguments.get("column_list", []))


def run_suite(frame: pd.DataFrame, expectations: list[Expectation]) -> tuple[list[Outcome], ExpectationSuiteValidationResult]:
    """Run the suite over a frame indexed by record number. Returns an outcome for each rule, in their order, and GX's result.

    The result holds record numbers but no cell texts, so nothing personal gets into its documents.
    """
    built = check_suite(expectations, list(frame.columns))
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    definition = (
        context.data_sources.add_pandas("file").add_dataframe_asset("records").add_batch_definition_whole_dataframe("all")
    )
    form = {"result_format": "COMPLETE", "exclude_unexpected_values": True, "partial_unexpected_count": 0}
    parts = []
    for columns, group in tqdm(_by_columns(built, expectations, frame), desc="rules", unit=" columns", delay=2, disable=None):
        suite = gx.ExpectationSuite(name=", ".join(columns), expectations=group)
        batch = definition.get_batch(batch_parameters={"dataframe": frame[columns]})
        parts.append(batch.validate(suite, result_format=form))
    result = _joined(parts)
    by_rule = {item.expectation_config.meta["rule"]: item for item in result.results}
    outcomes = [_outcome(number, rule, by_rule.get(number)) for number, rule in enumerate(expectations, start=1)]
    for item in result.results:
        if not _tellable(item):
            item.result.pop("observed_value", None)
    return outcomes, result


def _by_columns(built: list[Any], expectations: list[Expectation], frame: pd.DataFrame) -> list[tuple[list[str], list[Any]]]:
    """The rules by the columns they look at: GX copies all columns of a batch for each rule, so it gets only those."""
    groups: dict[tuple[str, ...], list[Any]] = {}
    for implementation, expectation in zip(built, expectations, strict=True):
        given = expectation.arguments()  # a row_condition may name any column
        columns = tuple(sorted(_columns(given)) if not given.get("row_condition") else ()) or tuple(frame.columns)
        groups.setdefault(columns, []).append(implementation)
    return [(list(columns), group) for columns, group in groups.items()]


def _joined(parts: list[ExpectationSuiteValidationResult]) -> ExpectationSuiteValidationResult:
    """The results of all groups as the result of one suite, in the order of the rules."""
    results = sorted((item for part in parts for item in part.results), key=lambda item: item.expectation_config.meta["rule"])
    statistics = calc_validation_statistics(results)
    counts = statistics._asdict()
    success = counts.pop("success")
    return ExpectationSuiteValidationResult(
        results=results, success=success, suite_name="params.yaml", statistics=counts, meta=parts[0].meta
    )


def _outcome(number: int, rule: Expectation, item: Any) -> Outcome:
    if item is None:
        return Outcome(number, rule, "error", 0, 0, [], "Great Expectations gave no result")
    found = item.result
    if not found and not item.success:  # what only asks whether a column is there has nothing to tell when it is
        return Outcome(number, rule, "error", 0, 0, [], _exception(item.exception_info))
    records = sorted(record for part in found.get("unexpected_index_list") or [] for record in part["record"])
    failing = int(found.get("unexpected_count", 0))
    if "element_count" not in found and not item.success:  # about the column or table as a whole: also values that miss
        failing = max(failing + int(found.get("missing_count", 0)), 1)
    observed = str(found["observed_value"]) if _tellable(item) and not item.success else ""
    status = "passed" if item.success else "failed"
    return Outcome(number, rule, status, int(found.get("element_count", max(failing, 1))), failing, records, observed=observed)


def _tellable(item: Any) -> bool:
    """Whether the observed value is no cell text: a number, or what a rule about the table saw (names of columns)."""
    value = item.result.get("observed_value")
    return value is not None and (isinstance(value, Number) or item.expectation_config.type.startswith("expect_table_"))


def _exception(info: dict[str, Any]) -> str:
    """GX nests one entry for each metric that broke."""
    entries = [entry for entry in info.values() if isinstance(entry, dict)] or [info]
    messages = [str(entry.get("exception_message") or "").strip().splitlines() for entry in entries]
    return next((lines[-1] for lines in messages if lines), "the rule raised without a message")


def data_docs(result: ExpectationSuiteValidationResult) -> str:
    """GX's own page of the result. The time and the random ids in it are fixed, so that equal results give equal bytes."""
    for item in result.results:
        item.result.pop("unexpected_index_list", None)
        item.result.pop("unexpected_index_query", None)
        if "element_count" not in item.result:  # of a set of values: GX's page would want a share of records
            item.result.pop("unexpected_count", None)
    page = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result))
    return VOLATILE.sub(_fixed, page)


def _fixed(match: re.Match[str]) -> str:
    return "" if match.group().endswith("Z") else "00000000-0000-0000-0000-000000000000"
