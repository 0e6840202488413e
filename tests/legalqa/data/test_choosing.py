"""Which reply becomes the answer, and which stay as references."""

import pandas as pd
import pytest

from legalqa.data.choosing import choose, conflicts, require_best
from legalqa.problems import UserError

FRAME = pd.DataFrame(
    {
        "prompt": ["甲"] * 4 + ["乙"] * 2,
        "asked": ["甲"] * 4 + ["乙"] * 2,
        "reply": ["短", "最好的一个", "另一个也最好的", "长长长长长长长长长", "先", "后来的"],
        "is_best": ["0", "1", "1", "0", "0", None],
        "best": [False, True, True, False, False, False],
    },
    index=[1, 2, 3, 4, 5, 6],
)


@pytest.mark.parametrize(
    ("replies", "answers", "references"),
    [
        ("best_else_first", [2, 5], {3: 2}),
        ("longest", [4, 6], {2: 4, 3: 4}),
        ("all", [1, 2, 3, 4, 5, 6], {}),
    ],
)
def test_choice(replies: str, answers: list[int], references: dict[int, int]) -> None:
    chosen, further = choose(FRAME, replies)
    assert chosen.tolist() == answers
    assert further.to_dict() == references


def test_conflicting_best_replies_are_named() -> None:
    assert conflicts(FRAME) == [{"question": "甲", "records": [2, 3]}]


def test_no_best_reply_at_all_is_said() -> None:
    none = FRAME.assign(best=pd.array([False] * 6, dtype="boolean"))
    for replies in ("best", "best_else_first"):
        with pytest.raises(UserError, match="all 6 records filtered out by is_best"):
            require_best(none, replies, tells_best=True)
    require_best(none, "best_else_first", tells_best=False)
    require_best(none, "all", tells_best=True)
