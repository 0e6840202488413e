"""An engine for every model that transformers can generate with: static batches through the model's own ``generate``.

The requests that wait when the engine becomes free are padded on the left to the longest and written together; those that
come meanwhile wait until the last of them has ended. Slower than `legalqa.engine.continuous_engine`, but attention, caches
and positions are the model's own: windows, linear attention, ALiBi. Every answer is chosen, cut, streamed and cancelled as
there, one step at a time: ``generate`` asks for each next token through a logits processor, and whether to go on through
a stopping criterion.
"""

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from legalqa.engine.answer import Answer
from legalqa.engine.loading import load_model
from legalqa.engine.local_engine import LocalEngine

PADDING = 512  # tokens of padding that a batch may have in any case


class StaticEngine(LocalEngine):
    """For causal language models of transformers that heed an attention mask (RWKV and xLSTM do not)."""

    joins = False
    _model: Any = None
    _reading = False  # the prompts of a batch

    def _load(self) -> None:
        self._model = load_model(self._base, self._adapter, self._weights, self._merged)
        self._model.generation_config = GenerationConfig()  # its maker's sampling must not mix with the requests'
        for module in self._model.modules():  # a long batch's first step takes a while, and is no stall
            module.register_forward_hook(self._note_progress)
        self._generate([[self.prompt.pad_id]], 1)

    def _unload(self) -> None:
        self._model = None

    def _admit(self) -> None:
        """First come first served, until padding to the longest prompt would more than double what there is to read."""
        sizes: list[int] = []
        while self._waiting and len(self._running) < self._max_batch:
            sizes.append(self._waiting[0].unread_prompt)
            if len(sizes) * max(sizes) > 2 * sum(sizes) + PADDING:
                break
            self._running.append(self._waiting.popleft())

    def _advance(self, batch: list[Answer]) -> None:
        """The whole batch, to the end of its longest answer."""

        def choose(_ids: Tensor, scores: Tensor) -> Tensor:
            self._reading = False
            rows = [row for row, answer in enumerate(batch) if answer in self._running]
            self._take([batch[row] for row in rows], [scores[row, None] for row in rows])
            self._speed.begin(0, len(batch))
            chosen = torch.tensor([answer.last_token for answer in batch])
            return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)

        def ended(_ids: Tensor, _scores: Any, **_unused: Any) -> Tensor:
            with self._changed:
                self._drop_cancelled_and_late()
                self._changed.notify_all()
                return torch.tensor([self._closing or answer not in self._running for answer in batch])

        self._reading = True
        prompts = [answer.unread_prompt for answer in batch]
        self._speed.begin(sum(prompts), len(prompts) * max(prompts))
        longest = max(answer.left for answer in batch)
        self._generate([answer.request.prompt_ids for answer in batch], longest, [choose], [ended])

    @torch.inference_mode()
    def _generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, processors: Sequence[Any] = (), criteria: Sequence[Any] = ()
    ) -> None:
        ids = [torch.tensor(prompt) for prompt in prompts]
        self._model.generate(
            pad_sequence(ids, batch_first=True, padding_value=self.prompt.pad_id, padding_side="left"),
            attention_mask=pad_sequence([torch.ones_like(one) for one in ids], batch_first=True, padding_side="left"),
            generation_config=GenerationConfig(max_new_tokens=new_tokens, do_sample=False, pad_token_id=self.prompt.pad_id),
            logits_processor=LogitsProcessorList(processors),
            stopping_criteria=StoppingCriteriaList(criteria),
        )

    @torch.inference_mode()
    def _logits_of(self, ids: Sequence[int], at: Tensor) -> Tensor:
        some = self._model._supports_logits_to_keep()  # else it makes those of all tokens
        output = self._model(input_ids=torch.tensor([ids]), use_cache=False, **({"logits_to_keep": at} if some else {}))
        logits: Tensor = output.logits[0] if some else output.logits[0, at]
        return logits.float()

    def _note_progress(self, *_unused: Any) -> None:
        if self._reading:
            self._last_step = time.monotonic()
