from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from legalqa.params import LoraParams
from legalqa.training import fused, lora


@pytest.fixture
def models(base: Path) -> Iterator[tuple[torch.nn.Module, torch.nn.Module]]:
    """The same model with its own forwards and with ours, LoRA's B not zero."""
    pair = []
    for _ in range(2):
        torch.manual_seed(0)
        model = lora.attach(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraParams(r=4))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        pair.append(model.train())
    fused.install(pair[1])
    yield pair[0], pair[1]


def same_gradients(models: tuple[torch.nn.Module, torch.nn.Module], logits: tuple[torch.Tensor, torch.Tensor]) -> None:
    for values in logits:
        values.square().sum().backward()
    for (name, expected), (_, parameter) in zip(models[0].named_parameters(), models[1].named_parameters(), strict=True):
        if expected.requires_grad:
            assert torch.allclose(expected.grad, parameter.grad, rtol=1e-3, atol=1e-3 * expected.grad.abs().max().item()), name


def test_outputs_and_gradients_are_those_of_the_model(models: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    ids = torch.arange(40)[None]
    plain, ours = (model(ids, use_cache=False).logits for model in models)
    assert torch.allclose(plain, ours, atol=1e-5)
    same_gradients(models, (plain, ours))


def test_every_kind_of_layer_is_taken(models: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    taken = [module.forward.__func__.__name__ for module in models[1].modules() if "forward" in module.__dict__]
    assert Counter(taken) == {"_norm": 5, "_mlp": 1, "_mlp_of_answers": 1, "_lora": 14}


def test_the_last_layer_computes_what_is_asked_for(models: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    ids, kept = torch.arange(40)[None], torch.tensor([3, 17, 39])
    plain, ours = (model(ids, use_cache=False, logits_to_keep=kept).logits for model in models)
    assert ours.shape[1] == 3 and torch.allclose(plain, ours, atol=1e-5)
    same_gradients(models, (plain, ours))


class Expert(torch.nn.Module):
    """An MLP that gets its tokens without the batch's dimension, as those of mixtures of experts do."""

    def __init__(self, mlp: torch.nn.Module) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mlp(x[0])[None]


def test_an_expert_of_the_last_layer_computes_all_its_tokens(base: Path) -> None:
    found = []
    for install in (lambda _: None, fused.install):
        torch.manual_seed(0)
        inner = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        inner.model.layers[-1].mlp = Expert(inner.model.layers[-1].mlp)
        install(model := lora.attach(inner, LoraParams(r=4)))
        found.append(model(torch.arange(40)[None], use_cache=False, logits_to_keep=torch.tensor([3, 39])).logits)
    assert torch.allclose(*found, atol=1e-5)


@pytest.mark.parametrize("params", [LoraParams(r=2, dropout=0.1), LoraParams(r=2, dora=True)])
def test_layers_that_say_something_else_keep_their_forward(base: Path, params: LoraParams) -> None:
    model = lora.attach(AutoModelForCausalLM.from_pretrained(base), params)
    fused.install(model)
    assert not any(fused._plain_lora(module) for module in model.modules())
