"""Conversations -> samples -> optimiser steps -> micro-batches without padding.

A step is a set of conversations, chosen by seed and epoch alone. How it is laid out over processes and accumulation is
decided afterwards and changes nothing but speed and memory: the loss is normalised by the answer tokens of the whole step.
"""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from legalqa.files import written_aside
from legalqa.problems import Problem, UserError
from legalqa.prompt import Prompt
from legalqa.records import Conversation


@dataclass(frozen=True)
class Samples:
    """Token ids of all samples end to end, and how each was shortened.

    ``ids`` int32 of all samples together; sample i is ``ids[offsets[i]:offsets[i + 1]]``, of which the tokens from
    ``answers[i]`` on (counted in the sample) are learned. The lists hold record numbers of the raw file.
    """

    ids: np.ndarray
    offsets: np.ndarray
    answers: np.ndarray
    prompt_cut: list[int] = field(default_factory=list)
    answer_cut: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    changed: int = 0
    """Samples that were shortened or dropped; each may stand for several records."""

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each sample."""
        lengths: list[int] = np.diff(self.offsets).tolist()
        return lengths

    @property
    def answer_tokens(self) -> list[int]:
        """Learned tokens of each sample."""
        learned: list[int] = (np.diff(self.offsets) - self.answers).tolist()
        return learned

    def sample(self, index: int) -> tuple[np.ndarray, int]:
        """Token ids of one sample and where its answer starts."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]], int(self.answers[index])

    def first(self, count: int) -> "Samples":
        """The first few."""
        return Samples(self.ids[: self.offsets[count]], self.offsets[: count + 1], self.answers[:count])

    def work(self, head_share: float) -> list[float]:
        """What each sample costs, in tokens that are only read: a learned one needs the head too (see `Shape.head_share`)."""
        return [tokens + head_share * learned for tokens, learned in zip(self.lengths, self.answer_tokens, strict=True)]

    def save(self, path: Path) -> None:
        """Write the token ids for the training processes, whole or not at all."""
        with written_aside(path) as aside, aside.open("wb") as stream:
            np.savez(stream, ids=self.ids, offsets=self.offsets, answers=self.answers)

    @classmethod
    def load(cls, path: Path) -> "Samples":
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(arrays["ids"], arrays["offsets"], arrays["answers"])


def tokenise(name: str, conversations: Sequence[Conversation], prompt: Prompt, max_length: int) -> Samples:
    """Render each answer of each conversation as one sample of at most ``max_length`` tokens.

    The prompt renderer shortens the prompt first and the answer only then; both are counted by record number. A sample in
    which nothing is left to learn is dropped. Raises UserError when that holds for all of them.
    """
    parts: list[list[int]] = []
    answers: list[int] = []
    cut: dict[str, list[int]] = {"prompt": [], "answer": [], "dropped": []}
    changed = 0
    for number, conversation in enumerate(conversations, start=1):
        records = conversation.records or [number]
        messages = conversation.conversations
        for turn in (i for i, message in enumerate(messages) if message.role == "assistant"):
            try:
                rendered = prompt.training(messages[: turn + 1], max_length)
            except UserError:  # not even the frame of a conversation fits
                cut["dropped"] += records
                changed += 1
                continue
            learned = sum(rendered.loss_mask)
            if not learned or len(rendered.ids) > max_length:
                cut["dropped"] += records
                changed += 1
                continue
            if rendered.cut:
                cut[rendered.cut] += records
                changed += 1
            parts.append(rendered.ids)
            answers.append(len(rendered.ids) - learned)
    if not parts:
        found = f"0 trainable tokens in {len(conversations)} conversations of at most {max_length} tokens each"
        raise UserError(Problem(f"{name} split", found, "answers to learn from", "raise train.max_length"))
    offsets = np.cumsum([0, *map(len, parts)])
    ids = np.concatenate([np.asarray(part, dtype=np.int32) for part in parts])
    return Samples(ids, offsets, np.asarray(answers), cut["prompt"], cut["answer"], cut["dropped"], changed)


def plan_steps(lengths: Sequence[int], batch: int, epochs: float, seed: int) -> list[list[int]]:
    """Which samples each optimiser step learns from: each sample once an epoch, about ``batch`` a step, tokens balanced.

    The last epoch may be a part of one; there is at least one step.
    """
    per_epoch = max(1, round(len(lengths) / batch))
    total = max(1, round(epochs * per_epoch))
    steps: list[list[int]] = []
    for epoch in range(-(-total // per_epoch)):
        shuffle = random.Random(f"{seed}/{epoch}")
        weights = {index: length * shuffle.uniform(0.7, 1.3) for index, length in enumerate(lengths)}
        order = sorted(weights, key=lambda index: (-weights[index], index))  # noise: each epoch mixes other samples
        groups = deal(order, lengths, per_epoch)
        shuffle.shuffle(groups)
        steps += groups
    return steps[:total]


def deal(order: Sequence[int], weights: Sequence[float], hands: int) -> list[list[int]]:
    """Deal indices one by one, each to the lightest hand: hands of nearly equal weight."""
    heap = [(0.0, hand) for hand in range(hands)]
    dealt: list[list[int]] = [[] for _ in range(hands)]
    for index in order:
        weight, hand = heap[0]
        dealt[hand].append(index)
        heapq.heapreplace(heap, (weight + weights[index], hand))
    return dealt


def lay_out(
    steps: Sequence[Sequence[int]],
    lengths: Sequence[int],
    processes: int,
    capacity: int,
    work: Sequence[float] | None = None,
) -> list[list[list[int]]]:
    """Cut each step into micro-batches of at most ``capacity`` tokens, the same number for every process and step.

    Returns for each step ``processes * accumulation`` lists of indices (a few may be empty); process p takes the lists
    p, p + processes, ... Every sample must fit ``capacity``. ``work`` (see `Samples.work`; without it the lengths) is what
    micro-batches get the same of: processes wait for the slowest one after each.
    """
    weights = lengths if work is None else work
    heaviest_first = [sorted(step, key=lambda index: (-weights[index], index)) for step in steps]
    most = max(sum(lengths[index] for index in step) for step in steps)
    accumulation = max(1, -(-most // (processes * capacity)))
    while True:
        rows = processes * accumulation
        laid = [deal(step, weights, rows) for step in heaviest_first]
        if all(sum(lengths[index] for index in row) <= capacity for step in laid for row in step):
            return laid
        accumulation += 1
