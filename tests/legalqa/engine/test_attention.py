from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
import torch

from legalqa.engine.attention import Cache, Rows
from legalqa.engine.loading import load_model
from legalqa.engine.slots import SlotModel

LENGTHS = (5, 60, 17, 2)


@pytest.fixture(scope="module")
def model(tiny: Path) -> SlotModel:
    return SlotModel(load_model(tiny, None, "int8"), slots=len(LENGTHS), length=512)


def _read(model: SlotModel) -> list[Rows]:
    """A prompt of its own in each slot; what each writes next."""
    for slot, length in enumerate(LENGTHS):
        model.forward([Rows(slot, 0, [(slot * 31 + at) % 200 for at in range(length)])])
    return [Rows(slot, length, [slot + 7]) for slot, length in enumerate(LENGTHS)]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1), (1, 0), (0, 2, 3), (2,), (3, 0, 1, 2)])
def test_slots_in_any_order_and_with_gaps_see_their_own_keys(model: SlotModel, order: Sequence[int]) -> None:
    steps = _read(model)
    alone = [model.forward([step])[0] for step in steps]
    together = model.forward([steps[slot] for slot in order])
    assert all(torch.equal(row, alone[slot]) for row, slot in zip(together, order, strict=True))
    assert not torch.equal(alone[0], alone[1])


def test_prompts_guesses_and_single_steps_in_one_pass(model: SlotModel) -> None:
    steps = _read(model)
    guess = Rows(1, LENGTHS[1], [9, 8, 7])
    prompt = Rows(2, 0, [4, 5, 6, 7])
    mixed = [steps[3], prompt, guess, steps[0]]
    alone = [model.forward([rows])[0] for rows in mixed]
    assert all(map(torch.equal, model.forward(mixed), alone))


def test_a_cache_takes_memory_only_where_tokens_are_written() -> None:
    taken = psutil.Process().memory_info().rss
    cache = Cache(layers=4, slots=16, heads=8, length=4096, width=64)  # 512 MB
    cache.layers[3][0, :, :10] = 1
    assert psutil.Process().memory_info().rss - taken < 50e6
    assert float(cache.layers[3][0, -1, 9, -1]) == 1
