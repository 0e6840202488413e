"""Micro-batches as tensors, for one process: packed end to end, or padded groups of similar length."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch.utils.data import Dataset

from legalqa.training.packing import Samples

IGNORED = -100
Batch = dict[str, torch.Tensor]


class MicroBatches(Dataset[Batch]):
    """Item i is this process's i-th micro-batch of the whole run, in the order in which they are trained."""

    def __init__(
        self, samples: Samples, laid: Sequence[Sequence[Sequence[int]]], rank: int, processes: int, pad_id: int, packed: bool
    ):
        self._samples = samples
        self._rows = [row for step in laid for row in step[rank::processes]]
        totals = [sum(samples.answer_tokens[index] for row in step for index in row) for step in laid]
        self.accumulation = len(laid[0]) // processes
        self.answer_tokens = totals
        """Learned tokens of each step over all processes."""
        self.tokens = [sum(samples.lengths[index] for row in step for index in row) for step in laid]
        """Useful (non-pad) tokens of each step over all processes."""
        self._pad_id = pad_id
        self._packed = packed

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Batch:
        row = [self._samples.sample(i) for i in self._rows[index]]
        ids = [torch.from_numpy(ids).long() for ids, _ in row]
        targets = [_targets(sample, answer) for sample, (_, answer) in zip(ids, row, strict=True)]
        if not ids:  # this process has nothing to add to the step, but takes part in its collectives
            ids, targets = [torch.tensor([self._pad_id])], [torch.tensor([IGNORED])]
        step_tokens = torch.tensor(self.answer_tokens[index // self.accumulation])
        batch = _pack(ids, targets) if self._packed else _pad(ids, targets, self._pad_id)
        return {**batch, "answer_tokens": step_tokens}


def _targets(ids: torch.Tensor, answer: int) -> torch.Tensor:
    """What each position has to predict: the next token where that belongs to the answer, else nothing."""
    targets = torch.full_like(ids, IGNORED)
    targets[answer - 1 : -1] = ids[answer:]
    return targets


def _pack(ids: list[torch.Tensor], targets: list[torch.Tensor]) -> Batch:
    """One row without padding. ``cu_seq_lens_q`` are the boundaries (int32, 0 to the total), where positions restart."""
    bounds = torch.tensor([0, *map(len, ids)]).cumsum(0)
    labels = torch.cat(targets)
    kept = (labels != IGNORED).nonzero().flatten()
    kept = kept if len(kept) else torch.tensor([0])
    return {
        "input_ids": torch.cat(ids)[None],
        "position_ids": torch.cat([torch.arange(int(b - a)) for a, b in pairwise(bounds)])[None],
        "cu_seq_lens_q": bounds.to(torch.int32),
        "logits_to_keep": kept,
        "labels": labels[kept][None],
    }


def _pad(ids: list[torch.Tensor], targets: list[torch.Tensor], pad_id: int) -> Batch:
    """Rows padded on the right to the longest."""
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad_id)
    labels = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=IGNORED)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(i) for i in ids], batch_first=True)
    kept = (labels != IGNORED).any(0).nonzero().flatten()
    kept = kept if len(kept) else torch.tensor([0])
    return {"input_ids": padded, "attention_mask": mask, "logits_to_keep": kept, "labels": labels[:, kept]}
