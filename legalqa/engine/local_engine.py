"""What the engines that run a transformers model themselves have in common: one thread that owns the model, and its queue.

Nobody but that thread loads or computes. (Each thread that does has its own OpenMP team; where the teams have more threads
than there are cores, OpenMP's waiting threads sleep at once, and a step takes up to half as long again.)
"""

import asyncio
import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from legalqa.engine.answer import Answer
from legalqa.engine.drafts import Phrases
from legalqa.engine.interface import Capabilities, Completion, Delta, FinishReason, GenerationRequest, Health
from legalqa.engine.loading import Weights
from legalqa.engine.speed import Speed
from legalqa.prompt import Prompt

MAX_CONTEXT = 2048  # tokens of prompt and answer

log = logging.getLogger(__name__)


class LocalEngine(ABC):
    """Runs a base folder, with an adapter if there is one. How requests share the model is what its kinds differ in.

    ``weights`` "int8" is for CPUs. ``phrases`` are what the model learnt to write, for kinds that guess. The adapter is
    ``merged`` into the weights, or stays beside them.
    """

    joins = True  # requests join those that run

    def __init__(
        self,
        base: Path,
        adapter: Path | None,
        prompt: Prompt,
        max_batch: int = 16,
        max_context: int = MAX_CONTEXT,
        weights: Weights = "int8",
        phrases: Phrases | None = None,
        merged: bool = True,
    ) -> None:
        self.prompt = prompt
        self._base, self._adapter, self._weights, self._merged = base, adapter, weights, merged
        self._phrases = phrases
        self._max_batch, self._max_context = max_batch, min(max_context, prompt.context)
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards all below
        self._waiting: deque[Answer] = deque()
        self._running: list[Answer] = []
        self._loss: tuple[Future[tuple[float, int]], Sequence[int], Sequence[int]] | None = None
        self._accepting = False
        self._closing = False
        self._last_step = 0.0
        self._speed = Speed()

    @property
    def capabilities(self) -> Capabilities:
        """Limits of this engine."""
        return Capabilities(max_batch=self._max_batch, max_context=self._max_context)

    def start(self) -> None:
        """Load the model, answer one token to warm it up, begin to take requests. Raises UserError when it can't be loaded."""
        self._closing = False
        loaded: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(loaded,), name="engine", daemon=True)
        self._thread.start()
        loaded.result()
        self._accepting = True

    def stop(self, drain_s: float = 0.0) -> None:
        """Take no more requests, give the accepted ones ``drain_s`` seconds, cancel what is left, free the model."""
        with self._changed:
            self._accepting = False
            self._changed.wait_for(lambda: not (self._waiting or self._running), timeout=drain_s)
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """Yield deltas as they come. Closing the iterator cancels the request; its slot is free after the running step."""
        loop = asyncio.get_running_loop()
        deltas: asyncio.Queue[Delta] = asyncio.Queue()
        answer = self._submit(request, lambda delta: _hand_over(loop, deltas, delta))
        try:
            while True:
                delta = await deltas.get()
                yield delta
                if delta.finish_reason is not None:
                    return
        finally:
            answer.cancelled = True

    def generate_many(
        self, requests: Sequence[GenerationRequest], done: Callable[[Completion], object] = lambda _completion: None
    ) -> list[Completion]:
        """Answer all, in order; one completion a request, an item that fails carries its error."""
        queues: list[queue.SimpleQueue[Delta]] = [queue.SimpleQueue() for _ in requests]
        with self._changed:  # all at once: else the first batch would depend on how soon the engine looks
            for request, deltas in zip(requests, queues, strict=True):
                self._submit(request, deltas.put)
        completions = []
        for request, deltas in zip(requests, queues, strict=True):
            completions.append(_collect(deltas.get, len(request.prompt_ids)))
            done(completions[-1])
        return completions

    def answer_loss(self, ids: Sequence[int], loss_mask: Sequence[int]) -> tuple[float, int]:
        """Sum of negative log-likelihoods (nats) over the marked tokens, and their number; only while nothing runs."""
        asked: Future[tuple[float, int]] = Future()
        with self._changed:
            if not self._accepting or self._running or self._waiting or self._loss:
                raise RuntimeError("the engine is not idle")
            self._loss = (asked, ids, loss_mask)
            self._changed.notify_all()
        return asked.result()

    def health(self) -> Health:
        """A snapshot. Never waits for a step."""
        alive = self._thread is not None and self._thread.is_alive()
        running, waiting = list(self._running), list(self._waiting)
        return Health(
            alive=alive,
            ready=alive and self._accepting,
            running=len(running),
            waiting=len(waiting),
            last_step_age_s=time.monotonic() - self._last_step if running or waiting else 0.0,
            queued_prompt_tokens=sum(len(s.request.prompt_ids) for s in waiting),
            prefill_tokens_per_s=self._speed.prefill_tokens_per_s,
            decode_tokens_per_s=self._speed.decode_tokens_per_s,
            step_s=self._speed.step_s,
            slowdown=self._speed.slowdown,
            joins=self.joins,
        )

    # ------------------------------------------------------------------ what the kinds differ in; all on the engine's thread

    @abstractmethod
    def _load(self) -> None:
        """Get the model, and write one token with it: that compiles what is compiled at its first use."""

    @abstractmethod
    def _unload(self) -> None:
        """Free the model."""

    @abstractmethod
    def _admit(self) -> None:
        """Move those that may begin now from the waiting to the running ones."""

    @abstractmethod
    def _advance(self, batch: list[Answer]) -> None:
        """Do some work for those that run."""

    @abstractmethod
    def _logits_of(self, ids: Sequence[int], at: Tensor) -> Tensor:
        """Logits (len(at), vocabulary) in float32 of what follows the tokens at the positions ``at`` of one text."""

    # ------------------------------------------------------------------ callers' side

    def _submit(self, request: GenerationRequest, emit: Callable[[Delta], None]) -> Answer:
        answer = Answer(request, self.prompt, emit, self._phrases)
        needed = len(request.prompt_ids) + request.max_new_tokens
        if not request.prompt_ids or request.max_new_tokens < 1:
            emit(Delta("", (), "error", "a request needs a prompt and at least one new token"))
        elif needed > self._max_context:
            emit(Delta("", (), "error", f"prompt and answer need {needed} tokens, {self._max_context} fit"))
        else:
            with self._changed:
                if self._accepting:
                    if not (self._waiting or self._running):
                        self._last_step = time.monotonic()  # until now there was nothing to do
                    self._waiting.append(answer)
                    self._changed.notify_all()
                    return answer
            emit(Delta("", (), "error", "the engine takes no requests"))
        return answer

    # ------------------------------------------------------------------ the engine's thread

    def _run(self, loaded: "Future[None]") -> None:
        try:
            self._load()
        except BaseException as error:  # whatever it was, `start` raises it
            loaded.set_exception(error)
            return
        self._last_step = time.monotonic()
        loaded.set_result(None)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._running or self._loss or self._closing)
                self._tell_loss()
                if self._closing:
                    self._drop([*self._running, *self._waiting], "cancelled")
                    self._unload()
                    self._changed.notify_all()
                    return
                self._drop_cancelled_and_late()
                self._admit()
                batch = list(self._running)
            if batch:
                try:
                    self._advance(batch)
                except Exception as error:  # one bad step must not leave callers waiting for ever
                    log.exception("a step of %d sequences failed", len(batch))
                    self._fail(batch, f"{type(error).__name__}: {error}")
                self._speed.rest()
            with self._changed:
                self._changed.notify_all()

    def _tell_loss(self) -> None:
        if self._loss:
            asked, ids, loss_mask = self._loss
            self._loss = None
            try:
                marked = torch.tensor(loss_mask).nonzero().flatten()
                marked = marked[marked > 0]  # nothing foretells the first token
                logits = self._logits_of(ids, marked - 1)
                loss = functional.cross_entropy(logits, torch.tensor(ids)[marked], reduction="sum")
                asked.set_result((float(loss), len(marked)))
            except Exception as error:
                asked.set_exception(error)

    def _drop_cancelled_and_late(self) -> None:
        now = time.monotonic()
        answers = [*self._running, *self._waiting]
        self._drop([answer for answer in answers if answer.cancelled], "cancelled")
        late = [a for a in answers if not a.cancelled and a.request.deadline is not None and now >= a.request.deadline]
        self._drop(late, "deadline")

    def _drop(self, answers: Sequence[Answer], reason: FinishReason) -> None:
        for answer in answers:
            self._finish(answer, reason)

    def _take(self, batch: Sequence[Answer], logits: Sequence[Tensor]) -> None:
        """End of a step: write what ``logits`` say, (tokens, vocabulary) for each of ``batch``, and note how long it took."""
        before = sum(answer.written for answer in batch)
        for answer, rows in zip(batch, logits, strict=True):
            try:
                reason = answer.take(rows)
            except Exception as error:  # its own: the others go on
                log.exception("answer %s failed", answer.request.id)
                self._fail([answer], f"{type(error).__name__}: {error}")
            else:
                if reason is not None:
                    self._finish(answer, reason)
        self._last_step = time.monotonic()
        self._speed.end(sum(answer.written for answer in batch) - before)

    def _finish(self, answer: Answer, reason: FinishReason, error: str = "") -> None:
        with self._changed:
            if answer in self._running:
                self._leave(answer)
            else:
                self._waiting.remove(answer)
        answer.finish(reason, error)

    def _leave(self, answer: Answer) -> None:
        self._running.remove(answer)

    def _fail(self, batch: Sequence[Answer], error: str) -> None:
        for answer in batch:
            if answer in self._running:
                self._finish(answer, "error", error)


def _hand_over(loop: asyncio.AbstractEventLoop, deltas: "asyncio.Queue[Delta]", delta: Delta) -> None:
    """Put a delta into a queue of another thread's loop; when that loop is gone, so is the reader."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(deltas.put_nowait, delta)


def _collect(get: Callable[[], Delta], prompt_tokens: int) -> Completion:
    text = ""
    tokens: list[int] = []
    while True:
        delta = get()
        text += delta.text
        tokens += delta.token_ids
        if delta.finish_reason is not None:
            return Completion(text, tuple(tokens), delta.finish_reason, delta.error, prompt_tokens)
