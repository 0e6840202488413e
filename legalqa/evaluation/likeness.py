"""What it costs to replace one Chinese character by another, from the tables beside LawBench's own scorer.

They are not part of this project: LawBench's repository has them in evaluation/utils/data.
"""

import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from legalqa.evaluation.edits import ALONE
from legalqa.problems import Problem, UserError

THESAURUS, CONFUSED, SOUNDS = "cilin.txt", "confusion_dict.txt", "char_meta.txt"
MARKS = frozenset(ALONE + "〰〾〿﹏")
UNRELATED = 4  # in half steps of the thesaurus, of 6


class Likeness:
    """Costs from three tables: classes of the thesaurus, readings without tones, characters that are taken for another."""

    def __init__(
        self,
        classes: Mapping[str, tuple[str, str, str]],
        readings: Mapping[str, frozenset[str]],
        confused: Mapping[str, frozenset[str]],
    ) -> None:
        self._classes, self._readings, self._confused = classes, readings, confused
        self.cost = cache(self._cost)

    @classmethod
    def load(cls, folder: Path) -> "Likeness":
        """Read the tables. Raises UserError that names each one that isn't there."""
        missing = [name for name in (THESAURUS, CONFUSED, SOUNDS) if not (folder / name).is_file()]
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
        readings = {}
        for line in (folder / SOUNDS).read_text(encoding="utf-8").splitlines():
            _, character, sounds, *_ = line.split("\t")
            mandarin = sounds.partition(";")[0]
            readings[character] = frozenset(_toneless(sound) for sound in mandarin.split(",") if sound != "null")
        return cls(classes, readings, confused)

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
            self._readings.get(old, nothing) & self._readings.get(new, nothing)
            or old in self._confused.get(new, nothing)
            or new in self._confused.get(old, nothing)
        )


def _toneless(sound: str) -> str:
    """Pinyin without its tone marks; ü keeps its dots."""
    kept = (mark for mark in unicodedata.normalize("NFD", sound) if unicodedata.category(mark) != "Mn" or mark == "\u0308")
    return "".join(kept)
