"""Question groups to train, dev and test by a keyed hash, and the proof that nothing leaks."""

import hashlib
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from legalqa.data.asking import key, keys
from legalqa.data.cells import TEXT
from legalqa.data.duplicates import near_pairs
from legalqa.params import SplitParams
from legalqa.problems import Problem, UserError
from legalqa.records import iter_jsonl

COLUMNS = ("question", "group", "record")
LEAST_LINE = 8  # letters and digits of a line that can be a question by itself
SPLITS = ("test", "dev", "train")  # the order on the hash's scale: a larger train share takes nothing from test


def read(path: Path) -> pd.DataFrame:
    """Of each conversation its question, group and first record number.

    A conversation without a group (hand-made) stands for itself.
    """
    questions: list[str] = []
    groups: list[str] = []
    records: list[int] = []
    for conversation in tqdm(iter_jsonl(path), desc="reading", unit=" conversations", delay=2, disable=None):
        question = conversation.question
        questions.append(question)
        groups.append(conversation.group or hashlib.blake2b(key(question).encode(), digest_size=8).hexdigest())
        records.append(min(conversation.records, default=len(records) + 1))
    return pd.DataFrame(
        {"question": pd.Series(questions, dtype=TEXT), "group": pd.Series(groups, dtype=TEXT), "record": records}
    )


def write(source: Path, folder: Path, splits: pd.Series) -> None:
    """Copy each line of ``source``, as it is, into the file of its split."""
    with ExitStack() as files, source.open(encoding="utf-8", newline="\n") as stream:
        targets = {
            name: files.enter_context((folder / f"{name}.jsonl").open("w", encoding="utf-8", newline="\n")) for name in SPLITS
        }
        lines = (line for line in stream if line.strip())
        bar = tqdm(splits, desc="writing", unit=" conversations", delay=2, disable=None)
        for line, name in zip(lines, bar, strict=True):  # strict: each conversation read is written, or the stage fails
            targets[name].write(line if line.endswith("\n") else line + "\n")


def place(groups: list[str], params: SplitParams) -> dict[str, str]:
    """Group -> split. Raises UserError when there are fewer groups than splits.

    From ``exact_below`` groups on, the hash alone decides: a group stays where it is whatever else is in the file, unless a
    new question so alike joins it that convert gives the group another name. Below it
    the hash only ranks the groups and the shares are cut exactly, since a dev set of none would be useless; there a group at a
    cut may move when the file grows.
    """
    distinct = sorted(set(groups))
    if len(distinct) < len(SPLITS):
        found = f"{len(distinct)} question group(s) left after convert"
        raise UserError(Problem("split", found, f"at least {len(SPLITS)}: one each for train, dev and test", "add questions"))
    points = {group: _point(group, params.key) for group in distinct}
    if len(distinct) >= params.exact_below:
        return {group: _by_threshold(point, params) for group, point in points.items()}
    ranked = sorted(distinct, key=lambda group: (points[group], group))
    sizes = _sizes(len(ranked), params)
    names = [name for name in SPLITS for _ in range(sizes[name])]
    return dict(zip(ranked, names, strict=True))


def _point(group: str, secret: str) -> float:
    """Where a group falls in [0, 1)."""
    digest = hashlib.blake2b(group.encode(), digest_size=8, key=secret.encode()[:64]).digest()
    return int.from_bytes(digest) / 2**64


def _by_threshold(point: float, params: SplitParams) -> str:
    if point < params.test:
        return "test"
    return "dev" if point < params.test + params.dev else "train"


def _sizes(count: int, params: SplitParams) -> dict[str, int]:
    """Whole numbers that add up to ``count``, each within one of its share (largest remainder), none zero."""
    shares = {name: getattr(params, name) * count for name in SPLITS}
    sizes = {name: int(share) for name, share in shares.items()}
    by_remainder = sorted(SPLITS, key=lambda name: (sizes[name] - shares[name], name))
    for name in by_remainder[: count - sum(sizes.values())]:
        sizes[name] += 1
    for name in SPLITS:
        if sizes[name] == 0:
            sizes[max(SPLITS, key=lambda other: sizes[other])] -= 1
            sizes[name] = 1
    return sizes


def require_filled(placed: dict[str, str]) -> None:
    """Raise UserError when the hash left a split without a group, as it may with few groups or a tiny share."""
    if empty := [name for name in SPLITS if name not in placed.values()]:
        found = f"none of {len(placed)} question groups falls into {' or '.join(empty)}"
        fix = f"add questions, or set split.exact_below above {len(placed)}"
        raise UserError(Problem("split", found, "at least one in each split", fix))


def leakage(frame: pd.DataFrame, benchmarks: dict[str, list[str]], params: SplitParams) -> dict[str, Any]:
    """What crosses between the splits. ``frame``: question, group, split, record. Empty lists prove that nothing does."""
    crossing = frame.groupby("group")["split"].nunique()
    asked = keys(frame["question"])
    pairs = near_pairs(asked, params.leak_threshold, seed=2)  # another seed than convert's grouping: an independent look
    splits = frame["split"].to_numpy()
    apart = pairs[splits[pairs["left"].to_numpy()] != splits[pairs["right"].to_numpy()]]
    records = frame["record"].to_numpy()
    held = _held(frame["question"], asked) if benchmarks else set()
    return {
        "threshold": params.leak_threshold,
        "groups_in_two_splits": sorted(crossing.index[crossing > 1])[:100],
        "near_duplicates": [
            {
                "records": [int(records[row.left]), int(records[row.right])],
                "splits": [splits[row.left], splits[row.right]],
                "similarity": round(row.similarity, 3),
            }
            for row in apart.itertuples()
        ][:100],
        "near_duplicate_count": len(apart),
        "benchmarks": {name: sum(key(question) in held for question in questions) for name, questions in benchmarks.items()},
    }


def _held(questions: pd.Series, asked: pd.Series) -> set[str]:
    """The keys by which a benchmark's question is found: each question as a whole, and each line of one that has several.

    The lines, because title and question are joined by a line end; of at least `LEAST_LINE` letters and digits, because a
    title such as 咨询 or 离婚纠纷 is no question of anybody's.
    """
    several = questions[questions.str.contains("\n", regex=False)]
    lines = keys(several.str.split("\n").explode(ignore_index=True))
    return {*asked, *lines[lines.str.len() >= LEAST_LINE]}


def require_clean(report: dict[str, Any]) -> None:
    """Raise UserError with examples when anything leaks."""
    problems = [Problem(f"group {group}", "stands in more than one split") for group in report["groups_in_two_splits"][:5]]
    problems += [
        Problem(
            f"records {pair['records'][0]} and {pair['records'][1]}",
            f"are alike ({pair['similarity']}) in {' and '.join(pair['splits'])}",
        )
        for pair in report["near_duplicates"][:5]
    ]
    problems += [
        Problem(f"benchmark {name}", f"{count} of its questions stand in the data")
        for name, count in report["benchmarks"].items()
        if count
    ]
    if problems:
        raise UserError(
            problems,
            "the splits leak: see reports/split/leakage.json; lower convert.near_duplicates.group, or take the records out",
        )


def counts(frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Conversations, groups and records of each split."""
    sizes = Counter(frame["split"])
    groups = frame.groupby("split")["group"].nunique()
    return {name: {"conversations": sizes[name], "groups": int(groups.get(name, 0))} for name in reversed(SPLITS)}


def told(report: dict[str, Any]) -> str:
    """One line for the console."""
    sizes = ", ".join(f"{name} {report[name]['conversations']} ({report[name]['groups']} groups)" for name in reversed(SPLITS))
    return f"{sizes}; no question in two splits (threshold {report['leakage']['threshold']})"
