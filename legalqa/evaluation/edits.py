"""Edits that turn one sentence into another, character by character, as LawBench 2-1 scores corrections.

The rules are those of ChERRANT (Zhang et al., 2022, MuCGEC) as LawBench uses it: every cheapest alignment counts, and what it
costs to replace a character depends on a thesaurus, on sound and on what people confuse (`legalqa.evaluation.likeness`).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from string import punctuation
from typing import NamedTuple

Edit = tuple[int, int, str]  # first and last + 1 character of the source, new text
Cost = Callable[[str, str], float]  # of replacing one character by another


class Step(NamedTuple):
    """Part of an alignment: M keeps, S replaces, I inserts, D deletes, T turns around; spans of source and target."""

    kind: str
    first: int
    last: int
    target_first: int
    target_last: int


RIGHT = "没有错误"  # says that nothing is wrong
NOTHING = "无"  # what is scored where a prediction is blank, or has too many cheapest alignments
MOST_ALIGNMENTS = 100_000  # the official scorer gives up after ten seconds instead
MOST_APART = 10  # characters of difference in length from which one alignment has to do
# Marks that change places with nothing.
ALONE = (
    punctuation
    + "！？｡＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠"
    + "｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟–—‘'‛“”„‟…‧."
)


def edits(source: str, target: str, cost: Cost) -> Counter[Edit]:
    """Each edit with the number of different corrections, among the cheapest ones, that make it. Empty: nothing to correct."""
    source, target = "".join(source.split()), "".join(target.split()) or NOTHING
    if target in (source, RIGHT):
        return Counter()
    found = _alignments(source, target, cost)
    if found is None:
        target, found = NOTHING, _alignments(source, NOTHING, cost)
    corrections = {tuple(_trimmed(_merged(steps, source, target), source, target)) for steps in found or ()}
    return Counter(edit for correction in corrections for edit in correction)


def counts(ours: Counter[Edit], theirs: Counter[Edit]) -> tuple[int, int, int]:
    """Edits that are right, wrong and missed."""
    right = sum(theirs[edit] for edit in ours if edit in theirs)
    wrong = sum(number for edit, number in ours.items() if edit not in theirs)
    missed = sum(number for edit, number in theirs.items() if edit not in ours)
    return right, wrong, missed


def f_beta(right: int, wrong: int, missed: int, beta: float = 0.5) -> float:
    """F from counts, 0 to 1; without a wrong edit precision is 1, without a missed one recall is 1."""
    precision = right / (right + wrong) if wrong else 1.0
    recall = right / (right + missed) if missed else 1.0
    weighted = beta * beta * precision + recall
    return (1 + beta * beta) * precision * recall / weighted if weighted else 0.0


def _alignments(source: str, target: str, cost: Cost) -> list[list[Step]] | None:
    """All cheapest alignments, or one where the lengths are far apart; None when there are too many."""
    ways = _ways(source, target, cost)
    one = abs(len(source) - len(target)) > MOST_APART
    if not one:
        paths = [[0] * (len(target) + 1) for _ in range(len(source) + 1)]
        for i, row in enumerate(ways):
            for j, steps in enumerate(row):
                paths[i][j] = sum(paths[s.first][s.target_first] for s in steps) if steps else 1
        if paths[-1][-1] > MOST_ALIGNMENTS:
            return None
    found: list[list[Step]] = []
    todo: list[tuple[int, int, tuple[Step, ...]]] = [(len(source), len(target), ())]
    while todo:
        i, j, behind = todo.pop()
        if not (i or j):
            found.append(list(behind))
        for step in ways[i][j][:1] if one else ways[i][j]:
            todo.append((step.first, step.target_first, (step, *behind)))
    return found


def _ways(source: str, target: str, cost: Cost) -> list[list[list[Step]]]:
    """For each pair of positions the cheapest last steps, in the order of preference: turn, replace, insert, delete."""
    costs = [[float(i + j) for j in range(len(target) + 1)] for i in range(len(source) + 1)]
    ways: list[list[list[Step]]] = [[[] for _ in costs[0]] for _ in costs]
    for i in range(1, len(source) + 1):
        ways[i][0] = [Step("D", i - 1, i, 0, 0)]
    for j in range(1, len(target) + 1):
        ways[0][j] = [Step("I", 0, 0, j - 1, j)]
    for i in range(1, len(source) + 1):
        for j in range(1, len(target) + 1):
            if source[i - 1] == target[j - 1]:
                costs[i][j], ways[i][j] = costs[i - 1][j - 1], [Step("M", i - 1, i, j - 1, j)]
                continue
            choices = [
                (costs[i - 1][j - 1] + cost(source[i - 1], target[j - 1]), Step("S", i - 1, i, j - 1, j)),
                (costs[i][j - 1] + 1, Step("I", i, i, j - 1, j)),
                (costs[i - 1][j] + 1, Step("D", i - 1, i, j, j)),
            ]
            if turned := _turned(source, target, costs, i, j):  # summed like the others, so that ties stay ties
                choices.insert(0, (costs[i - turned][j - turned] + (turned - 1), Step("T", i - turned, i, j - turned, j)))
            costs[i][j] = min(price for price, _ in choices)
            ways[i][j] = [step for price, step in choices if price == costs[i][j]]
    return ways


def _turned(source: str, target: str, costs: list[list[float]], i: int, j: int) -> int:
    """How many characters before (i, j) are the same ones in another order, 0 if none; a match in between ends the search."""
    surplus = Counter({source[i - 1]: 1, target[j - 1]: -1})
    size = 1
    while i > size and j > size and costs[i - size][j - size] != costs[i - size - 1][j - size - 1]:
        size += 1
        for character, sign in ((source[i - size], 1), (target[j - size], -1)):
            surplus[character] += sign
            if not surplus[character]:
                del surplus[character]
        if not surplus:
            return size
    return 0


def _merged(steps: Sequence[Step], source: str, target: str) -> Iterator[Step]:
    """Neighbouring changes as one, but insertions beside deletions apart; parts that changed places as one turn."""
    parts: list[Step] = []
    for kind, group in groupby(steps, lambda step: step.kind if step.kind in "MT" else "change"):
        run = list(group)
        kinds = {step.kind for step in run}
        if kind == "T" or len(run) == 1 or kinds == {"D", "I"}:
            parts += run
        else:
            parts.append(_joined(run, kinds.pop() if len(kinds) == 1 else "S"))
    at = 0
    while at < len(parts):
        three = parts[at : at + 3]
        if len(three) == 3 and _changed_places(three, source, target):
            yield _joined(three, "T")
            at += 3
        else:
            if parts[at].kind != "M":
                yield parts[at]
            at += 1


def _joined(run: Sequence[Step], kind: str) -> Step:
    return Step(kind, run[0].first, run[-1].last, run[0].target_first, run[-1].target_last)


def _changed_places(three: Sequence[Step], source: str, target: str) -> bool:
    """Two texts around a third were exchanged (S M S), or one moved over another (D M I, I M D), but for one character."""
    kinds = "".join(step.kind for step in three)
    (old, new), (old_behind, new_behind) = (
        (source[s.first : s.last], target[s.target_first : s.target_last]) for s in (three[0], three[2])
    )
    if kinds == "SMS":
        alike = _equal if min(map(len, (old, new, old_behind, new_behind))) == 1 else _nearly_equal
        return alike(old, new_behind) and alike(new, old_behind)
    if kinds in ("DMI", "DTI", "IMD", "ITD"):
        short, long = sorted((old + old_behind, new + new_behind), key=len)
        if short in ALONE or long in ALONE or len(long) - len(short) > 1:
            return False
        if len(short) == 1:
            return short == long
        return _nearly_equal(short, long) or (len(short) == len(long) and short in long + long)
    return False


def _equal(one: str, other: str) -> bool:
    return one == other


def _nearly_equal(one: str, other: str) -> bool:
    """At most one character is inserted, deleted or replaced."""
    short, long = sorted((one, other), key=len)
    if len(short) == len(long):
        return sum(a != b for a, b in zip(short, long, strict=True)) <= 1
    return len(long) - len(short) == 1 and any(long[:at] + long[at + 1 :] == short for at in range(len(long)))


def _trimmed(steps: Iterator[Step], source: str, target: str) -> Iterator[Edit]:
    """Edits without what a replacement leaves as it is at its ends."""
    for kind, first, last, target_first, target_last in steps:
        old, new = source[first:last], target[target_first:target_last]
        if old == new:
            continue
        front = back = 0
        if kind == "S":
            front = _common(old, new)
            back = _common(old[front:][::-1], new[::-1])
            if back > len(new) - front:  # the official scorer leaves such an end alone
                back = 0
        yield first + front, last - back, new[front : len(new) - back]


def _common(one: str, other: str) -> int:
    """Length of the common beginning."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
