from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from legalqa.tracking.journal import Journal


@contextmanager
def opened(journal: Journal | None) -> Iterator[Journal]:
    assert journal is not None
    yield journal
    journal.close(delivered=False)


def test_events_come_back_in_order_with_their_time(tmp_path: Path) -> None:
    with opened(Journal.open(tmp_path / "deep" / "a.jsonl")) as journal:
        written = [journal.write("tags", values={"名": "一\u2028二"}), journal.write("end", status="FINISHED")]
        assert journal.read() == written
    assert written[0]["time"] <= written[1]["time"]


def test_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with opened(Journal.open(path)):
        assert Journal.open(path) is None
    with opened(Journal.open(path)) as journal:
        journal.close(delivered=True)
    assert not path.exists()


def test_half_a_line_of_a_crash_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"kind": "tags", "time": 1}\n{"kind": "metr')
    with opened(Journal.open(path)) as journal:
        journal.write("end", status="FINISHED")
        assert [event["kind"] for event in journal.read()] == ["tags", "end"]


def test_an_ended_run_steps_aside_for_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with opened(Journal.open(path)) as old:
        old.write("end", status="FINISHED")
    with opened(Journal.open_for_new_run(path)) as new:
        assert new.read() == []
    assert len(list(tmp_path.glob("a.*.jsonl"))) == 1


def test_an_unfinished_run_goes_on_in_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with opened(Journal.open(path)) as old:
        old.write("tags", values={})
    with opened(Journal.open_for_new_run(path)) as again:
        assert len(again.read()) == 1
