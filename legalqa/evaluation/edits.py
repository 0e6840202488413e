"""Edits that turn one sentence into another, character by character, as grammar correction is scored (ERRANT's way)."""

from itertools import groupby

Edit = tuple[int, int, str]
Step = tuple[str, int, int]  # M, S, I or D; position in source and target after it

DELETE = INSERT = 1.0
REPLACE = 1.4  # less than deleting one and inserting another


def edits(source: str, target: str) -> frozenset[Edit]:
    """(first, last + 1, new text) of each span of ``source`` that a cheapest alignment changes.

    Neighbouring changes are one span. A sentence that stays the same is one edit of its own, so that leaving a right sentence
    alone counts.
    """
    source, target = "".join(source.split()), "".join(target.split())
    if source == target:
        return frozenset({(-1, -1, "")})
    found: list[Edit] = []
    for changed, group in groupby(_alignment(source, target), lambda step: step[0] != "M"):
        if changed:
            found += _spans(list(group), target)
    return frozenset(found)


def f_beta(right: int, wrong: int, missed: int, beta: float = 0.5) -> float:
    """F from counts, 0 to 1; without anything predicted precision is 1, without anything to find recall is 1."""
    precision = right / (right + wrong) if wrong or right else 1.0
    recall = right / (right + missed) if missed or right else 1.0
    weighted = beta * beta * precision + recall
    return (1 + beta * beta) * precision * recall / weighted if weighted else 0.0


def _spans(steps: list[Step], target: str) -> list[Edit]:
    """One edit for a run of changes, but insertions beside deletions stay apart."""
    apart = {kind for kind, _, _ in steps} == {"D", "I"}
    spans = []
    for run in [[step] for step in steps] if apart else [steps]:
        first, last = run[0], run[-1]
        spans.append((first[1] - (first[0] in "DS"), last[1], target[first[2] - (first[0] in "IS") : last[2]]))
    return spans


def _alignment(source: str, target: str) -> list[Step]:
    """A cheapest alignment; where several are, replacing goes before inserting and that before deleting."""
    costs = [[0.0] * (len(target) + 1) for _ in range(len(source) + 1)]
    for i in range(len(source) + 1):
        for j in range(len(target) + 1):
            costs[i][j] = min((cost for _, cost in _ways(costs, source, target, i, j)), default=0.0)
    steps: list[Step] = []
    i, j = len(source), len(target)
    while i or j:
        kind = next(kind for kind, cost in _ways(costs, source, target, i, j) if cost == costs[i][j])
        steps.append((kind, i, j))
        i, j = i - (kind != "I"), j - (kind != "D")
    return steps[::-1]


def _ways(costs: list[list[float]], source: str, target: str, i: int, j: int) -> list[tuple[str, float]]:
    ways = []
    if i and j:
        same = source[i - 1] == target[j - 1]
        ways.append(("M" if same else "S", costs[i - 1][j - 1] + (0 if same else REPLACE)))
        if same:
            return ways
    if j:
        ways.append(("I", costs[i][j - 1] + INSERT))
    if i:
        ways.append(("D", costs[i - 1][j] + DELETE))
    return ways
