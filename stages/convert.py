"""The raw file, already validated -> data/conversations.jsonl and reports/convert/{ledger.json,ledger.csv,card.md,plots/}."""

from pathlib import Path

from legalqa.data import choosing, converting, pictures
from legalqa.data.memory import frugal
from legalqa.data.reading import read_table
from legalqa.data.validation import require_passed
from legalqa.files import write_json, write_text
from legalqa.params import ConvertParams, DataParams, load_params
from legalqa.records import write_jsonl
from legalqa.stage import stage

SUMMARY = Path("reports/validate/summary.json")
CONVERSATIONS = Path("data/conversations.jsonl")
REPORTS = Path("reports/convert")
CONFLICTS = 100  # examples in ledger.json


def main(data: DataParams, params: ConvertParams) -> None:
    """Clean, mask, screen, choose, group; write the conversations and the fate of every record."""
    table = read_table(data)
    require_passed(SUMMARY, table)
    choosing.require_best(table.frame, params.replies, table.tells_best)

    ledger = converting.opened(table)
    frame = converting.prepared(table.frame, params, ledger)
    digest, replies = table.sha256, pictures.replies_per_question(frame["asked"])
    del table  # the raw texts are not needed any more
    frame = converting.eligible(frame, params, ledger)
    frame = converting.screened(frame, params, ledger)
    frame = converting.deduplicated(frame, ledger)
    conflicts = choosing.conflicts(frame)
    frame, references = converting.chosen(frame, params, ledger)
    answers = converting.grouped(frame, references, params.near_duplicates, ledger)
    references = references[references["answer"].isin(answers.index)]

    ledger.check(kept=len(answers) + len(references))
    counts = {"conversations": len(answers), "groups": answers["group"].nunique()}
    summary = ledger.summary() | counts | {"conflicts": {"count": len(conflicts), "examples": conflicts[:CONFLICTS]}}
    converting.require_some(summary)
    write_jsonl(CONVERSATIONS, converting.conversations(answers, references))
    write_json(REPORTS / "ledger.json", summary)
    write_text(REPORTS / "ledger.csv", ledger.frame().to_csv(lineterminator="\n"))
    found = pictures.tables(answers, replies, summary)
    pictures.draw(REPORTS / "plots", found)
    write_text(REPORTS / "card.md", pictures.card(data.source, digest, summary, found, answers))
    print(converting.told(summary))


if __name__ == "__main__":
    with stage("convert"):
        frugal()
        params = load_params()
        main(params.data, params.convert)
