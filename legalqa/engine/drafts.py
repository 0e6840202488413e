"""Guesses at the next tokens from the text so far: what followed the same few tokens the last time (prompt lookup).

Answers quote their question and their passages, and small models repeat themselves. Reading a few guessed tokens costs hardly
more than reading one, since a step mostly waits for the weights; guesses that prove wrong are dropped, so greedy answers stay
the same, token by token.
"""

from collections.abc import Sequence

KEY = 3  # tokens that must agree


class Drafts:
    """The text of one answer, prompt first, and where each run of `KEY` tokens last ended in it."""

    def __init__(self, token_ids: Sequence[int]) -> None:
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}  # key -> position of the token that followed it
        for token in token_ids:
            self.append(token)

    def append(self, token: int) -> None:
        """Take the next token."""
        if len(self._ids) >= KEY:
            self._after[tuple(self._ids[-KEY:])] = len(self._ids)
        self._ids.append(token)

    def guess(self, most: int) -> list[int]:
        """Up to ``most`` tokens that may follow; empty when the last tokens are new."""
        at = self._after.get(tuple(self._ids[-KEY:]))
        return [] if at is None else self._ids[at : at + most]
