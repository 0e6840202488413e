"""One question, several replies: which of them becomes the answer, which stay as references."""

from dataclasses import dataclass

import pandas as pd

from legalqa.data.asking import key
from legalqa.problems import Problem, UserError


@dataclass(frozen=True)
class Choice:
    """``answers``: records whose reply is learnt. ``references``: record of a further best reply -> record of its answer."""

    answers: pd.Index
    references: pd.Series
    dropped: dict[str, pd.Index]


def require_best(frame: pd.DataFrame, replies: str, tells_best: bool) -> None:
    """Raise UserError when the best replies are asked for and no record is one."""
    needed = replies == "best" or (replies == "best_else_first" and tells_best)
    if not needed or frame["best"].any():
        return
    unread = int((frame["is_best"].notna() & frame["best"].isna()).sum())
    found = f"all {len(frame)} records filtered out by is_best: none reads as yes, {unread} can't be read"
    fix = "correct the column, or set convert.replies to all or longest, or data.columns.is_best to null"
    raise UserError(Problem(f"convert.replies: {replies}", found, "at least one best reply", fix))


def choose(frame: pd.DataFrame, replies: str) -> Choice:
    """Choose among the records of each question. ``frame``: reply, best, asked (the question's key), in record order."""
    best = frame["best"].fillna(False).astype(bool)
    if replies == "all":
        return Choice(frame.index, pd.Series(dtype="int64"), {})
    if replies == "longest":
        lengths = frame["reply"].str.len()
        answers = lengths.sort_values(ascending=False, kind="stable").index
        answers = pd.Index(frame.loc[answers].groupby("asked", sort=False).head(1).index.sort_values())
    else:
        ranked = frame.assign(rank=(~best).astype(int)).sort_values("rank", kind="stable")
        answers = pd.Index(ranked.groupby("asked", sort=False).head(1).index.sort_values())
    dropped: dict[str, pd.Index] = {}
    if replies == "best":
        dropped["no_best_reply"] = frame.index[~frame["asked"].isin(frame["asked"][best])]
        answers = answers.difference(dropped["no_best_reply"])
    by_question = pd.Series(answers, index=frame["asked"].loc[answers].array)
    others = frame.index.difference(answers)
    references = others[best.loc[others].to_numpy()]
    rest = others.difference(references)
    dropped["not_chosen"] = rest.difference(dropped.get("no_best_reply", rest[:0]))
    return Choice(
        answers, pd.Series(by_question.loc[frame["asked"].loc[references].array].to_numpy(), index=references), dropped
    )


def conflicts(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Questions whose best replies say different things: their first line, and the records."""
    best = frame[frame["best"].fillna(False).astype(bool)]
    said = best["reply"].map(key)
    several = best[said.groupby(best["asked"]).transform("nunique") > 1]
    return [
        {"question": str(group["prompt"].iloc[0]).split("\n")[0][:100], "records": group.index.tolist()}
        for _, group in several.groupby("asked", sort=False)
    ]
