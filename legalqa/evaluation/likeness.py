"""What it costs to replace one Chinese character by another: from the tables beside LawBench's scorer, and from its readings.

The tables are not part of this project: LawBench's repository has them in evaluation/utils/data. The readings are pypinyin's,
as there; those of LawBench's char_meta.txt are fewer for rare characters, and miss some published scores by a second decimal.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from legalqa.evaluation.edits import ALONE
from legalqa.problems import Problem, UserError

THESAURUS, CONFUSED = "cilin.txt", "confusion_dict.txt"
MARKS = frozenset(ALONE + "〰〾〿﹏")
UNRELATED = 4  # in half steps of the thesaurus, of 6


class Likeness:
    """Costs from two tables, classes of the thesaurus and characters that are taken for another, and from readings."""

    def __init__(self, classes: Mapping[str, tuple[str, str, str]], confused: Mapping[str, frozenset[str]]) -> None:
        self._classes, self._confused = classes, confused
        self.cost = cache(self._cost)

    @classmethod
    def load(cls, folder: Path) -> "Likeness":
        """Read the tables. Raises UserError that names each one that isn't there."""
        missing = [name for name in (THESAURUS, CONFUSED) if not (folder / name).is_file()]
        if missing:
            fix = "benchmarks.lawbench_scorer: the folder evaluation/utils/data of LawBench's repository; or leave task 2-1 out"
            raise UserError(
                [Problem(str(folder / name), "is not there", "a table of LawBench's scorer", fix) for name in missing]
            )
        classes = {}
        for line in (folder / THESAURUS).read_text(encoding="gbk").strip().split("\n"):
            code, *words = line.split(" ")
            classes.update({word: (code[0], code[1], code[2:4]) for word in words if len(word) == 1})
        confused = {}
        for line in (folder / CONFUSED).read_text(encoding="utf-8").splitlines():
            character, *others = line.split(" ")
            confused[character] = frozenset(others)
        return cls(classes, confused)

    def _cost(self, old: str, new: str) -> float:
        """From 0.25 for one that means and sounds the same to 1.75; deleting and inserting cost 1 each."""
        ours, theirs = self._classes.get(old), self._classes.get(new)
        if ours is None or theirs is None:
            meaning = UNRELATED
        else:
            meaning = 0 if ours == theirs else 2 * (3 - sum(a == b for a, b in zip(ours, theirs, strict=True)))
        look = 0.0 if self._sound_or_look_alike(old, new) else 0.5
        marks = (old in MARKS) + (new in MARKS)
        return meaning / 6.0 + look + (0.25, 0.499, 0.0)[marks]

    def _sound_or_look_alike(self, old: str, new: str) -> bool:
        if not ("\u4e00" <= old <= "\u9fff" and "\u4e00" <= new <= "\u9fff"):
            return False
        nothing: frozenset[str] = frozenset()
        return bool(
            _readings(old) & _readings(new)
            or old in self._confused.get(new, nothing)
            or new in self._confused.get(old, nothing)
        )


@cache
def _readings(character: str) -> frozenset[str]:
    """All of a character's readings in pinyin, without tones."""
    from pypinyin import Style, pinyin

    return frozenset(pinyin(character, style=Style.NORMAL, heteronym=True)[0])
