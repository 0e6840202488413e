from pathlib import Path

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM

from legalqa.engine import slots
from legalqa.engine.attention import Rows
from legalqa.engine.loading import Weights, load_model
from legalqa.engine.slots import SlotModel
from legalqa.problems import UserError
from tests.tiny import tiny_model

IDS = [5, 17, 33, 90, 41, 12, 200, 7]
# What bf16 keys and values, and weights of that form, do to logits of size 1 of the tiny model.
TOLERANCE: dict[Weights, float] = {"fp32": 5e-3, "bf16": 3e-2, "int8": 3e-2}


@pytest.mark.parametrize("weights", ["fp32", "bf16", "int8"])
def test_same_logits_as_transformers(tiny: Path, weights: Weights) -> None:
    plain = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    with torch.inference_mode():
        expected = plain(torch.tensor([IDS])).logits[0]
    model = SlotModel(load_model(tiny, None, weights), slots=3, length=32)
    read = model.forward([Rows(1, 0, IDS[:5])])[0][-1]
    assert torch.allclose(read, expected[4], atol=TOLERANCE[weights])
    for at in (5, 6, 7):
        written = model.forward([Rows(1, at, IDS[at : at + 1])])[0][-1]
        assert torch.allclose(written, expected[at], atol=TOLERANCE[weights])


@pytest.mark.parametrize("fused", [True, False])
def test_a_sequence_does_not_see_its_neighbours(tiny: Path, fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "fits", lambda _model: fused)
    model = SlotModel(load_model(tiny, None, "int8"), slots=3, length=32)
    alone = model.forward([Rows(0, 0, IDS)])[0]
    step = model.forward([Rows(0, 8, [3])])[0]
    together = model.forward([Rows(2, 0, [9, 9, 9]), Rows(1, 0, IDS), Rows(0, 0, [1] * 20)])[1]
    assert torch.equal(alone, together)
    assert torch.equal(step, model.forward([Rows(0, 20, [5, 6]), Rows(1, 8, [3]), Rows(2, 3, [4])])[1])


@pytest.mark.parametrize("weights", ["fp32", "int8"])
def test_tokens_read_ahead_get_the_numbers_they_would_get_alone(tiny: Path, weights: Weights) -> None:
    model = SlotModel(load_model(tiny, None, weights), slots=1, length=32)
    model.forward([Rows(0, 0, IDS[:4])])
    ahead = model.forward([Rows(0, 4, IDS[4:])])[0]
    model.forward([Rows(0, 0, IDS[:4])])
    alone = torch.cat([model.forward([Rows(0, at, IDS[at : at + 1])])[0] for at in range(4, 8)])
    assert ahead.shape == alone.shape
    assert torch.equal(ahead, alone) if weights == "int8" else torch.allclose(ahead, alone, atol=1e-5)


def test_logits_of_some_tokens_are_those_of_transformers(tiny: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    with torch.inference_mode():
        expected = plain(torch.tensor([IDS])).logits[0]
    model = SlotModel(load_model(tiny, None, "fp32"), slots=1, length=32)
    at = torch.tensor([2, 5, 3])
    assert torch.allclose(model.logits([Rows(0, 0, IDS)], at), expected[at], atol=2e-3)


def test_nothing_of_the_file_stays_in_memory(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base").resolve()
    model = load_model(base, None, "int8")
    assert model is not None
    assert not [mapped.path for mapped in psutil.Process().memory_maps() if mapped.path.startswith(str(base))]


def test_a_token_behind_the_end_of_the_cache_is_refused(tiny: Path) -> None:
    model = SlotModel(load_model(tiny, None, "int8"), slots=2, length=len(IDS))
    model.forward([Rows(0, 0, IDS)])
    with pytest.raises(IndexError, match=f"token {len(IDS) + 1} of a sequence, room for {len(IDS)}"):
        model.forward([Rows(0, len(IDS), [1])])


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path)):
        load_model(tmp_path, None, "int8")


@pytest.mark.parametrize("fused", [True, False])
def test_company_of_any_length_changes_no_bit(tiny: Path, fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "fits", lambda _model: fused)
    model = SlotModel(load_model(tiny, None, "int8"), slots=4, length=600)
    lengths = [3, 250, 256, 511]
    for slot, length in enumerate(lengths):
        model.forward([Rows(slot, 0, [(slot * 31 + at) % 200 for at in range(length)])])
    alone = [model.forward([Rows(slot, length, [7])])[0] for slot, length in enumerate(lengths)]
    together = model.forward([Rows(slot, length, [7]) for slot, length in enumerate(lengths)])
    assert all(map(torch.equal, alone, together))


def test_guesses_change_no_bit(tiny: Path) -> None:
    model = SlotModel(load_model(tiny, None, "int8"), slots=1, length=600)
    prompt = [at % 200 for at in range(253)]
    model.forward([Rows(0, 0, prompt)])
    ahead = model.forward([Rows(0, 253, [5, 6, 7, 8, 9, 10])])[0]
    alone = torch.cat([model.forward([Rows(0, 253 + at, [5 + at])])[0] for at in range(6)])
    assert torch.equal(ahead, alone)
