"""Does the adapter do the same merged into the base as beside it, and does it do anything at all?"""

from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from legalqa.problems import Problem, UserError
from legalqa.training.lora import load_adapted

ANSWER_TOKENS = 64  # of each answer; logits over the whole vocabulary of all answers are held at once


def measure(base: Path, adapter: Path, samples: Sequence[tuple[list[int], list[int]]]) -> dict[str, float]:
    """Run the model with the adapter beside it, switched off, and merged, over (prompt ids, answer ids).

    ``same_tokens``: share of the answer's positions where adapter and merged weights choose the same next token; 1.0 means
    equal greedy answers. ``largest_logit_difference`` between those two; ``adapter_effect`` the largest between adapter and
    base. Raises UserError when the adapter changes nothing.
    """
    model = load_adapted(base, adapter)
    beside = [_logits(model, *sample) for sample in tqdm(samples, "parity, adapter", leave=False)]
    with model.disable_adapter():
        without = _logits(model, *samples[0])
    effect = _difference(beside[0], without)
    if effect == 0:
        raise UserError(Problem(str(adapter), "the model answers the same with and without it", "an adapter that is applied"))
    merged = model.merge_and_unload()
    same, positions, largest = 0, 0, 0.0
    for sample, ours in zip(tqdm(samples, "parity, merged", leave=False), beside, strict=True):
        theirs = _logits(merged, *sample)
        same += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
        positions += len(ours)
        largest = max(largest, _difference(ours, theirs))
    return {
        "prompts": len(samples),
        "same_tokens": round(same / positions, 4),
        "largest_logit_difference": round(largest, 3),
        "adapter_effect": round(effect, 3),
    }


@torch.inference_mode()
def _logits(model: PreTrainedModel, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """Logits (answer tokens, vocabulary) that choose each token of the answer."""
    answer = answer[:ANSWER_TOKENS]
    output = model(input_ids=torch.tensor([prompt + answer]), logits_to_keep=len(answer) + 1)
    logits: torch.Tensor = output.logits[0, :-1]
    return logits


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.float() - other.float()).abs().max())
