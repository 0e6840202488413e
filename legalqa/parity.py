"""Does the adapter do the same merged into the base, as it is served, as beside it, where it was trained?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from legalqa.engine.loading import load_model
from legalqa.params import PackageParams
from legalqa.problems import Problem, UserError
from legalqa.training.lora import load_adapted

ANSWER_TOKENS = 32  # of each answer; logits over the whole vocabulary of all answers are held at once
OTHER_WAY = "another training, or other bounds in params.yaml (package.parity_...)"


def measure(base: Path, adapter: Path, samples: Sequence[tuple[list[int], list[int]]]) -> dict[str, float]:
    """Hold the adapter merged as the engine merges it against the adapter beside its base, both in float32.

    ``samples``: ids of a prompt and of the greedy answer that was scored. Along it, ``same_tokens`` is the share of places
    where both choose the same next token, ``same_answers`` that of the answers where they do so everywhere, and
    ``largest_logit_difference`` is between the two; ``adapter_effect`` is the largest between adapter and base. Raises
    UserError when the adapter changes nothing.
    """
    model = load_adapted(base, adapter).float()
    beside = [_logits(model, *sample) for sample in tqdm(samples, "parity, adapter", leave=False)]
    with model.disable_adapter():
        effect = max(_difference(ours, _logits(model, *sample)) for ours, sample in zip(beside[:4], samples, strict=False))
    if effect == 0:
        raise UserError(Problem(str(adapter), "the model answers the same with and without it", "an adapter that is applied"))
    del model
    model = load_model(base, adapter, "fp32")
    largest, same, whole, tokens = 0.0, 0, 0, 0
    for sample, ours in zip(tqdm(samples, "parity, merged", leave=False), beside, strict=True):
        theirs = _logits(model, *sample)
        largest = max(largest, _difference(ours, theirs))
        equal = ours.argmax(-1) == theirs.argmax(-1)
        same, tokens, whole = same + int(equal.sum()), tokens + len(equal), whole + bool(equal.all())
    return {
        "prompts": len(samples),
        "tokens": tokens,
        "same_tokens": round(same / tokens, 4),
        "same_answers": round(whole / len(samples), 4),
        "largest_logit_difference": round(largest, 5),
        "adapter_effect": round(effect, 3),
    }


def broken(found: dict[str, float], params: PackageParams) -> list[Problem]:
    """What keeps the bundle from being served: merged, it is not what was trained."""
    problems = []
    if found["same_tokens"] < params.parity_tokens:
        expected = f"at least {params.parity_tokens:g} of the greedy tokens as beside the base"
        problems.append(Problem("parity: same_tokens", f"{found['same_tokens']:g}", expected, OTHER_WAY))
    if found["largest_logit_difference"] > params.parity_logits:
        expected = f"at most {params.parity_logits:g} between adapter merged and beside"
        problems.append(
            Problem("parity: largest_logit_difference", f"{found['largest_logit_difference']:g}", expected, OTHER_WAY)
        )
    return problems


@torch.inference_mode()
def _logits(model: Any, ids: list[int], answer: list[int]) -> torch.Tensor:
    """Logits (answer tokens + 1, vocabulary) that choose each token of the answer, and the one behind it."""
    answer = answer[:ANSWER_TOKENS]
    output = model(input_ids=torch.tensor([ids + answer]), logits_to_keep=len(answer) + 1)
    logits: torch.Tensor = output.logits[0].float()
    return logits


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())
