from pathlib import Path

import numpy as np
import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoModelForCausalLM

from legalqa.engine import quantised
from legalqa.engine.quantised import Int8Linear, quantise
from legalqa.params import LoraParams
from legalqa.training.lora import attach
from tests.tiny import tiny_model


def _layer(bias: bool = True) -> tuple[Int8Linear, torch.nn.Linear]:
    torch.manual_seed(0)
    plain = torch.nn.Linear(96, 40, bias=bias)
    return Int8Linear(plain.weight, plain.bias), plain


@pytest.fixture(params=[name for name in ("onednn", "fbgemm") if name in torch.backends.quantized.supported_engines])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both products, where this torch has them: with weights of 7 bits both are exact on every processor."""
    fbgemm = request.param == "fbgemm"
    monkeypatch.setattr(quantised, "FBGEMM", fbgemm)
    monkeypatch.setattr(quantised, "WEIGHT_LEVELS", 63)
    monkeypatch.setattr(quantised, "_LEVELS", torch.float32 if fbgemm else torch.uint8)
    monkeypatch.setattr(quantised, "OFFSET", np.float32(0 if fbgemm else 128.5))


@pytest.mark.usefixtures("kernel")
def test_close_to_the_full_product() -> None:
    layer, plain = _layer()
    x = torch.randn(2, 5, 96)
    assert layer(x).shape == (2, 5, 40)
    assert (layer(x) - plain(x)).abs().max() < 0.02 * plain(x).abs().max()


@pytest.mark.usefixtures("kernel")
def test_a_row_does_not_see_its_neighbours() -> None:
    layer, _ = _layer(bias=False)
    x = torch.randn(37, 96)  # more rows than FEW, and no multiple of it
    x[3] *= 1000  # an outlier that would ruin a scale shared by the batch
    together = layer(x)
    assert together.shape == (37, 40)
    for row in range(37):
        assert torch.equal(layer(x[row : row + 1])[0], together[row])


def test_a_row_of_zeros_is_the_bias() -> None:
    layer, plain = _layer()
    assert torch.allclose(layer(torch.zeros(1, 96))[0], plain.bias)


def test_joined_layers_give_what_each_gives_alone() -> None:
    torch.manual_seed(1)
    parent = torch.nn.Module()
    for name, width in (("q_proj", 32), ("k_proj", 16), ("v_proj", 16)):
        setattr(parent, name, torch.nn.Linear(96, width, bias=name != "v_proj"))
    alone = {name: Int8Linear(layer.weight, layer.bias) for name, layer in parent.named_children()}
    quantise(parent)
    for x in (torch.randn(2, 5, 96), torch.randn(1, 3, 96)):
        for name, layer in alone.items():
            assert torch.equal(getattr(parent, name)(x), layer(x))


@pytest.mark.parametrize(
    "params", [LoraParams(r=4), LoraParams(r=4, dora=True), LoraParams(r=4, targets=["q_proj", "down_proj"])]
)
def test_adapters_are_merged_layer_by_layer_as_peft_merges_all(params: LoraParams, tmp_path: Path) -> None:
    tiny_model(tmp_path)
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        model = attach(AutoModelForCausalLM.from_pretrained(tmp_path), params)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        models.append(model)
    whole, by_layer = models[0].float().merge_and_unload(), models[1].get_base_model()
    for model in (whole, by_layer):
        quantise(model)
    assert not any(isinstance(module, BaseTunerLayer) for module in by_layer.modules())
    for one, other in zip(_int8(whole), _int8(by_layer), strict=True):
        x = torch.randn(3, one.in_features)
        assert torch.equal(one(x), other(x))


def _int8(model: torch.nn.Module) -> list[Int8Linear]:
    """Those that `quantise` made, a joined one once for each of its parts."""
    parts = [getattr(module, "joined", module) for module in model.modules()]
    return [layer for part in parts if isinstance(layer := getattr(part, "layer", part), Int8Linear)]
