"""The default engine: continuous batching over a transformers model. Requests join and leave between two steps.

Each step reads the prompts of requests that have just got a slot, and writes for each that runs one token, or several where
guesses were right; cancels and deadlines are looked at before every step. See `legalqa.engine.slots` for why a batch gives
the same tokens.
"""

import heapq
from collections.abc import Sequence

from torch import Tensor

from legalqa.engine.answer import Answer
from legalqa.engine.attention import Rows
from legalqa.engine.loading import load_model
from legalqa.engine.local_engine import LocalEngine
from legalqa.engine.quantised import CHEAP_ROWS
from legalqa.engine.slots import SlotModel

PREFILL_TOKENS = 512  # prompts read in one step: more would let the running answers wait


class ContinuousEngine(LocalEngine):
    """For models whose attention can be exchanged, see `legalqa.base.attention`.

    With ``phrases`` few answers at a time come sooner, and stay the same.
    """

    _model: SlotModel | None = None

    def _load(self) -> None:
        self._cheap_rows = CHEAP_ROWS if self._weights == "int8" else 1
        self._free = list(range(self._max_batch))  # a heap: low slots first, whose memory was taken before
        model = load_model(self._base, self._adapter, self._weights, self._merged)
        self._model = SlotModel(model, self._max_batch, self._max_context)
        self._model.forward([Rows(0, 0, [self.prompt.pad_id])])

    def _unload(self) -> None:
        self._model = None

    def _admit(self) -> None:
        """Give free slots to those that wait, first come first served, as many prompts as one step should read."""
        tokens = 0
        while self._waiting and self._free:
            tokens += self._waiting[0].unread_prompt
            if tokens > PREFILL_TOKENS and self._running and self._running[-1].unread_prompt:
                break
            answer = self._waiting.popleft()
            answer.slot = heapq.heappop(self._free)
            self._running.append(answer)

    def _leave(self, answer: Answer) -> None:
        super()._leave(answer)
        heapq.heappush(self._free, answer.slot)

    def _advance(self, batch: list[Answer]) -> None:
        """One step."""
        assert self._model is not None
        prompt_tokens = sum(answer.unread_prompt for answer in batch)
        room = (self._cheap_rows - len(batch)) // len(batch)
        for answer in batch:
            answer.guess(room)
        rows = [answer.rows for answer in batch]
        self._speed.begin(prompt_tokens, sum(len(row.token_ids) for row in rows))
        self._take(batch, self._model.forward(rows))

    def _logits_of(self, ids: Sequence[int], at: Tensor) -> Tensor:
        assert self._model is not None
        return self._model.logits([Rows(0, 0, ids)], at)
