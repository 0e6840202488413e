"""Work on whole columns of text: a cheap RE2 pattern in Arrow first, the exact Python function only on what it finds."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

TEXT = pd.StringDtype("pyarrow", na_value=np.nan)  # pandas' own text type, held in Arrow


def matches(column: pd.Series, pattern: str) -> pd.Series:
    """Which cells contain the RE2 ``pattern``; null cells do not. No Python call a cell."""
    found = pc.match_substring_regex(pa.array(column, pa.large_string(), from_pandas=True), pattern)
    return pd.Series(pc.fill_null(found, False).to_numpy(zero_copy_only=False), index=column.index)


def where(column: pd.Series, trigger: str, test: Callable[[str], bool]) -> pd.Series:
    """Which cells match ``trigger`` and pass ``test``."""
    found = matches(column, trigger).to_numpy(copy=True)
    found[found] = np.fromiter(map(test, column[found]), bool, int(found.sum()))
    return pd.Series(found, index=column.index)


def apply_where(column: pd.Series, trigger: str, function: Callable[[str], str]) -> tuple[pd.Series, pd.Index]:
    """Apply ``function`` to the cells that match ``trigger``; return the column and the index of what changed."""
    before = column[matches(column, trigger)]
    after = pd.Series([function(text) for text in before], index=before.index, dtype=column.dtype)
    after = after[after != before]
    if len(after):
        column = column.copy()
        column.loc[after.index] = after
    return column, after.index
