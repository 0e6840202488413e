"""The validation report as one HTML page that needs nothing from outside."""

from html import escape
from typing import Any

import pandas as pd

from legalqa.data import privacy

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.5rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
.passed{color:#1a7f37}.failed,.error{color:#b42318;font-weight:600}.bar{background:#eee;height:.5rem;width:8rem}
.bar i{display:block;height:.5rem;background:#b42318}code{font-size:.85em}summary{cursor:pointer}.dim{color:#666}
td{overflow-wrap:anywhere}
@media(max-width:50rem){.rules tr:first-child{display:none}.rules tr{display:block;padding:.5rem 0;border-bottom:1px solid #ddd}
.rules td{display:block;border:0;padding:.1rem 0}.rules td:empty{display:none}
.rules td::before{content:attr(data-name) " ";color:#666;display:inline-block;min-width:5rem}}
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}th,td{border-color:#444}.bar{background:#333}}"""
EXAMPLES = 5
CUT = 120
HEAD = ("#", "rule", "on", "severity", "result", "failing", "records")


def page(summary: dict[str, Any], frame: pd.DataFrame) -> str:
    """The page. Example texts are masked and cut; nothing in it depends on time or place."""
    source, records, rules = summary["source"], summary["records"], summary["rules"]
    verdict = "passed" if summary["success"] else "failed"
    run = f"{rules['passed']} passed, {rules['failed']} failed, {rules['error']} broken"
    facts = {
        "file": source["path"],
        "sha256": source["sha256"],
        "encoding": source["encoding"] or "-",
        "records": f"{records['read']} read, {records['broken']} broken",
        "is_best": f"{records['best']} yes, {records['best_unreadable']} unreadable",
        "rules": f"{rules['planned']} planned, {rules['run']} run: {run}",
        "notes": "; ".join(summary["notes"]) or "-",
    }
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items())
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Validation: {verdict}</title>"
        f'<style>{STYLE}</style></head><body><h1>Validation: <span class="{verdict}">{verdict}</span></h1>'
        f'<table>{rows}</table><h2>Rules</h2><table class="rules"><tr>{head}</tr>'
        f"{''.join(_row(entry, frame) for entry in summary['expectations'])}</table></body></html>\n"
    )


def _row(entry: dict[str, Any], frame: pd.DataFrame) -> str:
    arguments = dict(entry["arguments"])
    columns = arguments.pop("column", None) or ", ".join(arguments.pop("column_list", []))
    extra = ", ".join(f"{name}={value}" for name, value in arguments.items())
    bar = f'<div class="bar"><i style="width:{100 * min(entry["share"], 1):.1f}%"></i></div>'
    cells = [
        str(entry["rule"]),
        f'<code>{escape(entry["expectation"])}</code><br><span class="dim">{escape(extra)}</span>',
        escape(columns or "table"),
        entry["severity"],
        f'<span class="{entry["status"]}">{entry["status"]}</span>',
        f"observed {escape(entry['observed'])}" if "observed" in entry else f"{entry['failing']} of {entry['checked']}{bar}",
        escape(entry.get("error", "")) or _examples(entry, columns, frame),
    ]
    named = [f'<td data-name="{name}">{cell}</td>' for name, cell in zip(HEAD, cells, strict=True)]
    return f"<tr>{''.join(named)}</tr>"


def _examples(entry: dict[str, Any], column: str, frame: pd.DataFrame) -> str:
    if not entry["records"]:
        return ""
    lines = []
    for record in entry["records"][:EXAMPLES]:
        value: Any = frame.at[record, column] if column in frame else ""
        text = "(empty)" if pd.isna(value) else privacy.mask(str(value))
        lines.append(f"<li>record {record}: {escape(text[:CUT])}{'…' if len(text) > CUT else ''}</li>")
    more = len(entry["records"]) - EXAMPLES + entry["more"]
    tail = f"<li>and {more} more, all in rejected.csv</li>" if more > 0 else ""
    return f"<details><summary>show</summary><ul>{''.join(lines)}{tail}</ul></details>"
