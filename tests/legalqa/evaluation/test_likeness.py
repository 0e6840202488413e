from pathlib import Path

import pytest

from legalqa.evaluation.likeness import CONFUSED, THESAURUS, Likeness
from legalqa.files import write_text
from legalqa.problems import UserError

# Invented lines in the form of LawBench's tables.
CLASSES = "Aa01A01= 人 士\nAa01A02= 众 人们\nAa02A01= 我\nBb02A01= 树\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_text(tmp_path / CONFUSED, "诉 述 塑\n")
    (tmp_path / THESAURUS).write_bytes(CLASSES.encode("gbk"))
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "cost"),
    [
        ("人", "士", 0 + 0.5 + 0.25),  # the same class
        ("人", "我", 2 / 6 + 0.5 + 0.25),  # two of three steps
        ("人", "树", 6 / 6 + 0.5 + 0.25),
        ("人", "龘", 4 / 6 + 0.5 + 0.25),  # not in the thesaurus
        ("事", "实", 4 / 6 + 0 + 0.25),  # one reading in common
        ("女", "努", 4 / 6 + 0.5 + 0.25),  # nü is not nu
        ("鲩", "缓", 4 / 6 + 0 + 0.25),  # huǎn as well as huàn
        ("述", "诉", 4 / 6 + 0 + 0.25),  # confused, in either direction
        ("，", "！", 4 / 6 + 0.5),
        ("，", "人", 4 / 6 + 0.5 + 0.499),
        ("a", "b", 4 / 6 + 0.5 + 0.25),
    ],
)
def test_costs(folder: Path, old: str, new: str, cost: float) -> None:
    assert Likeness.load(folder).cost(old, new) == pytest.approx(cost)


def test_every_missing_table_is_named(folder: Path) -> None:
    (folder / THESAURUS).unlink()
    with pytest.raises(UserError) as caught:
        Likeness.load(folder)
    for said in (THESAURUS, "evaluation/utils/data", "leave task 2-1 out"):
        assert said in str(caught.value)
    assert CONFUSED not in str(caught.value)
    (folder / CONFUSED).unlink()
    with pytest.raises(UserError, match=f"(?s){THESAURUS}.*{CONFUSED}"):
        Likeness.load(folder)
