"""One question, several replies: which of them becomes the answer, which stay as references."""

import pandas as pd

from legalqa.data.asking import keys
from legalqa.problems import Problem, UserError


def require_best(frame: pd.DataFrame, replies: str, tells_best: bool) -> None:
    """Raise UserError when the best replies are asked for and no record is one."""
    needed = replies == "best" or (replies == "best_else_first" and tells_best)
    if not needed or frame["best"].any():
        return
    unread = int((frame["is_best"].notna() & frame["best"].isna()).sum())
    found = f"all {len(frame)} records filtered out by is_best: none reads as yes, {unread} can't be read"
    fix = "correct the column, or set convert.replies to all or longest, or data.columns.is_best to null"
    raise UserError(Problem(f"convert.replies: {replies}", found, "at least one best reply", fix))


def choose(frame: pd.DataFrame, replies: str) -> tuple[pd.Index, pd.Series]:
    """The records whose reply is learnt, and the further best replies: a series of answer records indexed by their record.

    ``frame``: reply, best (true or false), asked (the question's key), in record order.
    """
    if replies == "all":
        return frame.index, pd.Series(dtype="int64")
    questions = pd.Series(pd.factorize(frame["asked"])[0], index=frame.index)
    rank = -frame["reply"].str.len() if replies == "longest" else (~frame["best"]).astype(int)
    ranked = questions.loc[rank.sort_values(kind="stable").index]
    answers = ranked.index[~ranked.duplicated()].sort_values()
    answered = pd.Series(answers, index=questions.loc[answers].array)
    others = frame["best"].drop(index=answers)
    further = others.index[others]
    return answers, pd.Series(answered.loc[questions.loc[further].array].to_numpy(), index=further)


def conflicts(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Questions whose best replies say different things: their first line, and the records."""
    best = frame.loc[frame["best"], ["asked", "prompt", "reply"]]
    best = best[best["asked"].duplicated(keep=False)]
    said = keys(best["reply"])
    several = best[said.groupby(best["asked"]).transform("nunique") > 1]
    return [
        {"question": str(group["prompt"].iloc[0]).split("\n")[0][:100], "records": group.index.tolist()}
        for _, group in several.groupby("asked", sort=False)
    ]
