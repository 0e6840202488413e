from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from legalqa.params import LoraParams
from legalqa.training import fused, int8, lora
from legalqa.training.int8 import FrozenInt8Linear, in_levels


@pytest.fixture
def layer() -> FrozenInt8Linear:
    torch.manual_seed(0)
    levels, sizes = in_levels(torch.randn(48, 32), int8.WEIGHT_LEVELS)
    return FrozenInt8Linear(levels, sizes.flatten(), torch.randn(48))


def exact(layer: FrozenInt8Linear) -> torch.nn.Linear:
    """The same layer in fp32."""
    linear = torch.nn.Linear(layer.in_features, layer.out_features)
    linear.weight.data, linear.bias.data = layer.weight * layer.scales[:, None], layer.bias
    return linear.requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_are_those_of_the_numbers_that_the_integers_stand_for(layer: FrozenInt8Linear, dtype: torch.dtype) -> None:
    x = torch.randn(3, 20, 32, dtype=dtype, requires_grad=True)
    twin = x.detach().float().requires_grad_()
    y, expected = layer(x), exact(layer)(twin)
    gradient = torch.randn(3, 20, 48)
    y.backward(gradient.to(dtype))
    expected.backward(gradient)
    assert y.dtype == x.grad.dtype == dtype
    for got, wanted in ((y, expected), (x.grad, twin.grad)):
        assert (got.float() - wanted).norm() < 0.01 * wanted.norm()


def test_each_row_has_its_own_size(layer: FrozenInt8Linear) -> None:
    rows = torch.randn(4, 32)
    rows[1] *= 1e4
    rows[2] = 0
    alone = torch.cat([layer(row[None]) for row in rows])
    assert torch.equal(layer(rows), alone)
    assert torch.equal(layer(rows[2]), layer.bias)


def test_levels_reach_from_end_to_end() -> None:
    levels, sizes = in_levels(torch.tensor([[-2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    assert levels.tolist() == [[-127, 64, 0], [0, 0, 0]]
    assert sizes[0].item() == pytest.approx(2 / 127) and torch.isfinite(sizes).all()


@pytest.mark.parametrize("params", [LoraParams(r=4), LoraParams(r=4, targets=["q_proj", "down_proj"])])
def test_a_base_in_int8_says_and_learns_nearly_the_same(base: Path, tmp_path: Path, params: LoraParams) -> None:
    """All linear layers are replaced, with LoRA around them or not."""
    int8.write(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), tmp_path)
    models = []
    for quantised in (False, True):
        torch.manual_seed(0)
        inner = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        model = lora.attach(inner, params)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        if quantised:
            int8.install(inner, tmp_path)
            fused.install(model)
        models.append(model.train())
    assert sum(isinstance(module, FrozenInt8Linear) for module in models[1].modules()) == 15
    ids = torch.arange(40)[None]
    plain, ours = (model(ids, use_cache=False).logits for model in models)
    assert (plain - ours).norm() < 0.03 * plain.norm()
    for logits in (plain, ours):
        logits.square().sum().backward()
    ours_by_name = dict(models[1].named_parameters())
    for name, expected in models[0].named_parameters():
        if expected.requires_grad:
            assert (expected.grad - ours_by_name[name].grad).norm() < 0.1 * expected.grad.norm(), name
