"""DISC-Law-Eval (Yue et al., 2023): its prompt for choice questions, without examples, and its reading of the answers.

On the 23,067 published answers of nine models it chooses the letters that the published scorer (eval/src/eval.py) chooses, all
of them. 74 of the 90 published accuracies come out; of the others, 7 rest on nine verdicts that the published scorer does not
give ("C. B区法院可以…", right, stands as wrong), and 9 are not the mean of the published verdicts.
"""

import re
from collections.abc import Mapping, Sequence

from legalqa.evaluation.lawbench import Answered, Result

LETTERS = r"([ABCD,，、\s]+)"
# The first that is found says which options are meant; what stands before or behind the letters, in the official order.
BEFORE = ("答案应?该?[为是]", "答案是", "选项应?该?[是为]", "答案", r"答案应该?选\s?", "选择", "故?选[:：]?", "选择答案")
SAID = [re.compile(before + LETTERS) for before in BEFORE] + [
    re.compile(pattern) for pattern in (rf"^\s*选{LETTERS}[,，项．\.]", f"{LETTERS}</s>", f"^{LETTERS}。")
]
LISTED = re.compile(r"[ABCD][\.．]")
CALLED_RIGHT = [
    re.compile(pattern)
    for pattern in (
        rf"{LETTERS}都?是正确的",
        rf"选项{LETTERS}正确",
        rf"{LETTERS}选项正确",
        rf"{LETTERS}\s?都?[是为]正确答案",
        rf"{LETTERS}\s?都?[是为]正确选项",
        rf"{LETTERS}\s?选?项?都?属于[^错不]",
    )
]
SHORT = 10  # characters: a shorter answer is letters and nothing else


def prompt(row: Mapping[str, str]) -> str:
    """The question of a row of the CSV with its options, asked as DISC-Law-Eval asks."""
    kind = "多项" if row["multichoice"].lower() == "true" else "单项"
    options = "\n".join(f"{letter}. {row[letter]}" for letter in "ABCD")
    return f"以下是一道{kind}选择题，不需要做任何分析和解释，直接输出答案选项。\n\n问题：{row['input']}\n{options}\n答案："


def chosen(text: str) -> frozenset[str]:
    """The letters that an answer chooses."""
    return frozenset(letter for letter in _part_that_chooses(text) if letter in "ABCD")


def exact(answered: Sequence[Answered]) -> Result:
    """Right when exactly the letters of the answer are chosen."""
    choices = [chosen(one.prediction) for one in answered]
    right = tuple(100.0 * (letters == set(one.answer)) for letters, one in zip(choices, answered, strict=True))
    return Result(sum(right) / len(right), right, 100 * sum(not letters for letters in choices) / len(choices))


def _part_that_chooses(text: str) -> str:
    if len(text) < SHORT:
        return text
    for pattern in SAID:
        if found := pattern.search(text):
            return found.group(1)
    if listed := LISTED.findall(text):
        return "".join(listed)
    return next(("".join(called) for pattern in CALLED_RIGHT if (called := pattern.findall(text))), text)
