"""The sample CSV: big enough, with the quirks of a real forum, and no false citation."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from legalqa.knowledge.citations import check
from legalqa.knowledge.statutes import Statutes

SAMPLE = Path(__file__).resolve().parent.parent / "data/sample/legal_qa.csv"


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return pd.read_csv(SAMPLE, dtype=str, keep_default_na=False)


def test_form_and_size(rows: pd.DataFrame) -> None:
    assert list(rows.columns) == ["title", "question", "reply", "is_best"]
    assert len(rows) >= 400
    assert rows[["title", "question"]].drop_duplicates().shape[0] >= 260
    assert set(rows.is_best) == {"0", "1"}


def test_quirks_of_a_forum(rows: pd.DataFrame) -> None:
    best = rows[rows.is_best == "1"]
    assert (rows.question == "").sum() > 50
    assert (rows.question == rows.title).sum() > 20
    assert (rows.reply.str.strip("　 ") == "").any()
    assert rows.duplicated().any()
    assert rows.reply.str.contains("微信").any()
    assert rows.reply.str.contains("<br/>|&nbsp;").any()
    assert rows.reply.str.contains("138").any()
    assert (best.groupby(["title", "question"]).size() > 1).sum() > 10
    assert (rows.reply.str.len() < 8).sum() >= 8


def test_no_citation_is_false(rows: pd.DataFrame) -> None:
    """Every article named exists and is in force; only the deliberately outdated answers cite repealed law."""
    statutes = Statutes.packaged()
    checked = [(reply, one) for reply in rows.reply for one in check(reply, statutes)]
    assert not [(one.citation.key, reply) for reply, one in checked if one.status == "unknown"]
    old = {one.citation.law for _, one in checked if one.status == "repealed"}
    assert old == {"中华人民共和国婚姻法", "中华人民共和国合同法"}
    assert Counter(one.status for _, one in checked)["valid"] > 250
