"""Tables, pictures and the card say the numbers of the ledger, and repeat byte for byte."""

from pathlib import Path

import pandas as pd

from legalqa.data import pictures

ANSWERS = pd.DataFrame({"prompt": ["问" * 10, "问" * 700], "reply": ["答" * 30, "答" * 45], "area": ["labour", "other"]})
REPLIES = pictures.replies_per_question(pd.Series(["甲", "甲", "乙", *["丙"] * 14, "", ""]))  # "": records without a question
LEDGER = {
    "read": 17,
    "kept": 2,
    "dropped": {"not_chosen": 14, "broken": 1},
    "rules": {"privacy.phone": 3, "repealed_law": 1},
    "conversations": 2,
    "groups": 2,
    "conflicts": {"count": 1},
}


def test_tables_add_up() -> None:
    found = pictures.tables(ANSWERS, REPLIES, LEDGER)
    assert found["reasons"].to_numpy().tolist() == [["kept", 2], ["not_chosen", 14], ["broken", 1]]
    assert found["replies"].to_numpy().tolist() == [["1", 1], ["2", 1], ["10", 1]]
    assert found["lengths"][["questions", "replies"]].sum().tolist() == [2, 2]
    assert found["lengths"]["questions"].iloc[-1] == 1


def test_pictures_repeat(tmp_path: Path) -> None:
    found = pictures.tables(ANSWERS, REPLIES, LEDGER)
    for name in ("a", "b"):
        pictures.draw(tmp_path / name, found)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(f"{name}.{kind}" for name in found for kind in ("csv", "png"))
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_card_says_the_numbers() -> None:
    card = pictures.card("qa.csv", "0123", LEDGER, pictures.tables(ANSWERS, REPLIES, LEDGER), ANSWERS)
    for said in ("17 records read = 2 kept + 15 dropped", "| not_chosen | 14 |", "3 findings", "1 records seem to rest"):
        assert said in card
