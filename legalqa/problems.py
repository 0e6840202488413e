"""What is wrong with a user's input, said once, completely: where, what was found, what was expected, what to do."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing a user can mend. ``where`` names file, record, line, column or key."""

    where: str
    found: str
    expected: str = ""
    fix: str = ""

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.found}"]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.fix:
            parts.append(f"-> {self.fix}")
        return "; ".join(parts)


class UserError(Exception):
    """Ends a command with one message instead of a traceback; carries all problems at once."""

    def __init__(self, problems: Problem | Iterable[Problem], summary: str = "") -> None:
        self.problems = [problems] if isinstance(problems, Problem) else list(problems)
        self.summary = summary
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [self.summary] if self.summary else []
        lines += [f"  {problem}" if self.summary else str(problem) for problem in self.problems]
        return "\n".join(lines)
