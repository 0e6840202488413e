"""Read = kept + dropped, each record once."""

import pytest

from legalqa.data.ledger import Ledger


def test_every_record_has_one_fate() -> None:
    ledger = Ledger([2, 1, 3, 4], [3, 2, 4, 5])
    ledger.drop([3], "broken")
    ledger.drop([1], "duplicate")
    ledger.mark([1, 2], "clean.html")
    ledger.mark([2], "advertising")
    ledger.check(kept=2)
    assert ledger.summary() == {
        "read": 4,
        "kept": 2,
        "dropped": {"broken": 1, "duplicate": 1},
        "changed": 1,
        "rules": {"advertising": 1, "clean.html": 2},
    }
    assert ledger.frame().reset_index().to_csv(index=False, lineterminator="\n") == (
        "record,line,fate,reason,rules\n"
        "1,2,dropped,duplicate,clean.html\n"
        "2,3,kept,,advertising clean.html\n"
        "3,4,dropped,broken,\n"
        "4,5,kept,,\n"
    )


def test_what_does_not_add_up_is_an_error() -> None:
    ledger = Ledger([1, 2], [2, 3])
    ledger.drop([1], "duplicate")
    with pytest.raises(ValueError, match="2 records read, but 2 kept and 1 dropped"):
        ledger.check(kept=2)
    with pytest.raises(ValueError, match="dropped twice"):
        ledger.drop([1], "advertising")


def test_a_line_that_is_not_known_is_null_not_a_number() -> None:
    assert Ledger([1, 2], [0, 3]).frame()["line"].fillna(-1).tolist() == [-1, 3]
