"""The fate of every record. What goes in comes out, kept or dropped with a reason, or the stage fails."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

KEPT = "kept"


class Ledger:
    """One line for each record of the raw file, the broken ones included."""

    def __init__(self, records: Iterable[int], lines: Iterable[int]) -> None:
        self._frame = pd.DataFrame({"line": list(lines)}, index=pd.Index(list(records), name="record")).sort_index()
        self._fates = [KEPT]
        self._fate = np.zeros(len(self._frame), dtype=np.int16)
        self._rules: dict[str, np.ndarray[Any, np.dtype[np.bool_]]] = {}

    def drop(self, records: Iterable[int], reason: str) -> None:
        """Drop records for one reason. A record is dropped once: a second time raises ValueError."""
        at = self._frame.index.get_indexer(pd.Index(records))
        if (self._fate[at] != 0).any():
            raise ValueError(f"dropped twice, the second time as {reason}")
        if reason not in self._fates:
            self._fates.append(reason)
        self._fate[at] = self._fates.index(reason)

    def mark(self, records: Iterable[int], rule: str) -> None:
        """Note that a rule changed or flagged records."""
        marks = self._rules.setdefault(rule, np.zeros(len(self._frame), dtype=bool))
        marks[self._frame.index.get_indexer(pd.Index(records))] = True

    def check(self, kept: int) -> None:
        """Raise ValueError unless read = kept + dropped, with ``kept`` counted by the caller in what it writes."""
        dropped = int((self._fate != 0).sum())
        if len(self._frame) != kept + dropped:
            raise ValueError(f"{len(self._frame)} records read, but {kept} kept and {dropped} dropped")

    def summary(self) -> dict[str, Any]:
        """Counts: read, kept, dropped by reason, kept but changed, and records touched by each rule (kept and dropped ones)."""
        counts = np.bincount(self._fate, minlength=len(self._fates))
        reasons = {reason: int(count) for reason, count in zip(self._fates[1:], counts[1:], strict=True) if count}
        return {
            "read": len(self._frame),
            "kept": int(counts[0]),
            "dropped": reasons,
            "rules": {rule: int(marks.sum()) for rule, marks in sorted(self._rules.items()) if marks.any()},
            "changed": int(np.any(list(self._rules.values()), axis=0)[self._fate == 0].sum()) if self._rules else 0,
        }

    def frame(self) -> pd.DataFrame:
        """record (index), line (null where none is known), fate (kept or dropped), reason, rules (joined by blanks, sorted)."""
        rules = np.full(len(self._frame), "", dtype=object)
        for rule, marks in sorted(self._rules.items()):
            rules[marks] += f"{rule} "
        return self._frame.assign(
            line=self._frame["line"].astype("Int64").where(self._frame["line"] > 0),
            fate=np.where(self._fate == 0, KEPT, "dropped"),
            reason=np.array(["", *self._fates[1:]], dtype=object)[self._fate],
            rules=[text.rstrip() for text in rules],
        )
