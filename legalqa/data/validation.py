"""What validate says about a file: one strict JSON, one CSV of failing records, the worst offences in words."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legalqa.data.reading import Table
from legalqa.files import read_json
from legalqa.params import Expectation
from legalqa.problems import Problem, UserError

MAX_RECORDS = 10_000  # record numbers a rule keeps in summary.json; rejected.csv has them all
WORST = 5


@dataclass(frozen=True)
class Outcome:
    """What became of one rule. ``records`` are the failing record numbers; ``error`` is set when the rule itself broke."""

    rule: int
    expectation: Expectation
    status: str
    checked: int
    failing: int
    records: list[int]
    error: str = ""
    observed: str = ""  # of a rule about the whole column or table: the number, or the names of columns, that it saw

    @property
    def column(self) -> str:
        """The column or columns that the rule looks at."""
        given = self.expectation.arguments()
        return str(given.get("column") or ", ".join(given.get("column_list", [])) or given.get("column_A", ""))


def summary(table: Table, source: str, outcomes: list[Outcome]) -> dict[str, Any]:
    """Everything a program wants to know, without any cell text."""
    unreadable = table.frame.index[table.frame["is_best"].notna() & table.frame["best"].isna()].tolist()
    return {
        "success": not blocking(outcomes),
        "source": {"path": source, "sha256": table.sha256, "encoding": table.encoding, "delimiter": table.delimiter},
        "notes": table.notes,
        "records": {
            "read": table.records,
            "broken": len(table.bad),
            "broken_numbers": [bad.record for bad in table.bad[:MAX_RECORDS]],
            "best": int(table.frame["best"].sum()),
            "best_unreadable": len(unreadable),
            "best_unreadable_numbers": unreadable[:MAX_RECORDS],
        },
        "rules": {
            "planned": len(outcomes),
            "run": sum(outcome.status != "error" for outcome in outcomes),
            **{status: sum(outcome.status == status for outcome in outcomes) for status in ("passed", "failed", "error")},
        },
        "expectations": [_entry(outcome) for outcome in outcomes],
    }


def _entry(outcome: Outcome) -> dict[str, Any]:
    entry = {
        "rule": outcome.rule,
        "expectation": outcome.expectation.type,
        "arguments": outcome.expectation.arguments(),
        "severity": outcome.expectation.severity,
        "status": outcome.status,
        "checked": outcome.checked,
        "failing": outcome.failing,
        "share": round(outcome.failing / outcome.checked, 6) if outcome.checked else 0.0,
        "records": outcome.records[:MAX_RECORDS],
        "more": max(len(outcome.records) - MAX_RECORDS, 0),
    }
    more = {"error": outcome.error, "observed": outcome.observed}
    return entry | {name: value for name, value in more.items() if value}


def blocking(outcomes: list[Outcome]) -> list[Outcome]:
    """What stops the pipeline, worst first: rules that broke, then critical rules that failed, by share of failing records."""
    stopping = [o for o in outcomes if o.status == "error" or (o.status == "failed" and o.expectation.severity == "critical")]
    return sorted(stopping, key=lambda o: (o.status != "error", -o.failing / max(o.checked, 1), o.rule))


def rejected_csv(table: Table, outcomes: list[Outcome]) -> str:
    """One line for each failing record and rule, and for each broken record: record, line, severity, rule, column, what."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["record", "line", "severity", "rule", "column", "what"])
    writer.writerows([bad.record, bad.line or "", "critical", "", "", bad.trouble] for bad in table.bad)
    for outcome in outcomes:
        lines = table.frame["line"].loc[outcome.records].tolist()
        tail = [outcome.expectation.severity, outcome.rule, outcome.column, outcome.expectation.type]
        writer.writerows([record, line or "", *tail] for record, line in zip(outcome.records, lines, strict=True))
    return out.getvalue()


def require(outcomes: list[Outcome], source: str) -> None:
    """Raise UserError with the five worst offences if anything stops the pipeline."""
    worst = blocking(outcomes)
    if not worst:
        return
    problems = [_problem(outcome, source) for outcome in worst[:WORST]]
    more = f" (the {WORST} worst of them here)" if len(worst) > WORST else ""
    raise UserError(
        problems, f"{source}: {len(worst)} critical rule(s) broken{more}; all in reports/validate/report.html and rejected.csv"
    )


def _problem(outcome: Outcome, source: str) -> Problem:
    rule = f"{source}: rule {outcome.rule}, {outcome.expectation.type} on {outcome.column or 'the table'}"
    if outcome.status == "error":
        return Problem(rule, f"could not be run: {outcome.error}", fix="mend the rule in params.yaml")
    if not outcome.records:  # about the column or table as a whole
        found = f"observed {outcome.observed}" if outcome.observed else f"{outcome.failing} value(s) unexpected or missing"
        limits = {name: value for name, value in outcome.expectation.arguments().items() if name not in ("column", "mostly")}
        expected = ", ".join(f"{name} {value}" for name, value in limits.items())
        return Problem(rule, found, expected, "mend the file, or the rule in params.yaml")
    allowed = outcome.expectation.arguments().get("mostly", 1)
    found = f"{outcome.failing} of {outcome.checked} records fail{numbers(outcome.records)}"
    return Problem(rule, found, f"{allowed:.4g} of the records to pass", "mend the records, or allow more with `mostly`")


def numbers(records: list[int], shown: int = 10) -> str:
    """The first record numbers in words: ": records 3, 4, 6 and 30 more"."""
    if not records:
        return ""
    more = f" and {len(records) - shown} more" if len(records) > shown else ""
    return f": records {', '.join(map(str, records[:shown]))}{more}"


def told(summary: dict[str, Any]) -> str:
    """A few lines for the console."""
    source, records, rules = summary["source"], summary["records"], summary["rules"]
    form = (
        f" ({source['encoding']}{', delimiter ' + repr(source['delimiter']) if source['delimiter'] else ''})"
        if source["encoding"]
        else ""
    )
    run = f"{rules['passed']} passed, {rules['failed']} failed, {rules['error']} broken"
    lines = [
        f"{source['path']}{form}: {records['read']} records, {records['broken']} broken; is_best: {records['best']} yes, "
        f"{records['best_unreadable']} unreadable{numbers(records['best_unreadable_numbers'])}",
        f"rules: {rules['planned']} planned, {rules['run']} run: {run}",
    ]
    for entry in summary["expectations"]:
        if entry["failing"]:
            column = entry["arguments"].get("column") or ", ".join(entry["arguments"].get("column_list", []))
            mark = entry["severity"] if entry["status"] == "failed" else "within mostly"
            count = f"{entry['failing']} of {entry['checked']}{numbers(entry['records'])}"
            found = f"observed {entry['observed']}" if "observed" in entry else count
            lines.append(f"  {mark}: {entry['expectation']} on {column or 'the table'}: {found}")
    return "\n".join(lines)


def require_passed(path: Path, table: Table) -> None:
    """Raise UserError unless the summary at ``path`` is whole and says that validate let exactly this file pass."""
    try:
        verdict = read_json(path)
        success, digest = verdict["success"], verdict["source"]["sha256"]
    except (ValueError, KeyError, TypeError):
        found = "is damaged: no summary of a validation can be read from it"
        raise UserError(Problem(str(path), found, fix="run validate again: dvc repro -f validate")) from None
    if not success:
        fix = "see reports/validate/report.html, then run validate again"
        raise UserError(Problem(str(path), "validation failed", fix=fix))
    if digest != table.sha256:
        raise UserError(Problem(str(path), "is about another file or an older one", fix="run validate again"))
