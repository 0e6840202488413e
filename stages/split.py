"""data/conversations.jsonl -> data/splits/{train,dev,test}.jsonl, reports/split/leakage.json. Stops when a question leaks."""

from pathlib import Path

from legalqa.data import benchmarks, splitting
from legalqa.files import write_json, written_aside
from legalqa.params import SplitParams, load_params
from legalqa.stage import stage

CONVERSATIONS = Path("data/conversations.jsonl")
FOLDER = Path("data/splits")
REPORT = Path("reports/split/leakage.json")


def main(params: SplitParams) -> None:
    """Place every group, look for leaks, write the three files."""
    held_out = benchmarks.questions(params.benchmarks)
    frame = splitting.read(CONVERSATIONS)
    placed = splitting.place(frame["group"].tolist(), params)
    splitting.require_filled(placed)
    frame["split"] = frame["group"].map(placed)

    report = splitting.counts(frame) | {"leakage": splitting.leakage(frame, held_out, params)}
    write_json(REPORT, report)
    splitting.require_clean(report["leakage"])
    with written_aside(FOLDER) as folder:
        folder.mkdir()
        splitting.write(CONVERSATIONS, folder, frame["split"])
    print(splitting.told(report))


if __name__ == "__main__":
    with stage("split"):
        params = load_params()
        main(params.split)
