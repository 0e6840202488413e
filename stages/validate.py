"""The raw file and the declared expectations -> reports/validate/{summary.json,rejected.csv,report.html,docs/}.

Stops the pipeline when a critical expectation is broken; the reports are written first, so that they tell why.
"""

from pathlib import Path

from legalqa.data import validation
from legalqa.data.asking import joined
from legalqa.data.expectations import check_suite, data_docs, run_suite
from legalqa.data.memory import frugal
from legalqa.data.reading import TEXT_COLUMNS, read_table
from legalqa.data.validation_page import page
from legalqa.files import write_json, write_text, written_aside
from legalqa.params import DataParams, ValidateParams, load_params
from legalqa.stage import stage

REPORTS = Path("reports/validate")


def main(data: DataParams, params: ValidateParams) -> None:
    """Read the file, run every rule on it, write what was found, then stop if it must not go on."""
    check_suite(params.expectations, [*TEXT_COLUMNS, "prompt"])  # a mistyped rule is said before a long file is read
    table = read_table(data)
    frame = table.frame[list(TEXT_COLUMNS)].assign(prompt=joined(table.frame["title"], table.frame["question"]))
    outcomes, result = run_suite(frame, params.expectations)

    summary = validation.summary(table, data.source, outcomes)
    write_json(REPORTS / "summary.json", summary)
    write_text(REPORTS / "rejected.csv", validation.rejected_csv(table, outcomes))
    write_text(REPORTS / "report.html", page(summary, frame))
    with written_aside(REPORTS / "docs") as folder:
        folder.mkdir()
        write_text(folder / "index.html", data_docs(result))

    for note in table.notes:
        print(f"note: {note}")
    print(validation.told(summary))
    validation.require(outcomes, data.source)


if __name__ == "__main__":
    with stage("validate"):
        frugal()
        params = load_params()
        main(params.data, params.validate_)
