from pathlib import Path

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from legalqa.engine.continuous_engine import ContinuousEngine
from legalqa.engine.loading import Weights, load_model
from legalqa.engine.local_engine import LocalEngine
from legalqa.engine.static_engine import StaticEngine
from legalqa.problems import UserError
from legalqa.prompt import Prompt
from legalqa.training.lora import load_adapted
from tests.legalqa.engine.conftest import QUESTIONS, asked
from tests.packed import tiny_adapter
from tests.tiny import tiny_model

IDS = torch.tensor([[5, 9, 40, 77, 130]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("lively") / "base", spread=0.2, dtype=torch.float32)


@pytest.fixture(scope="module")
def adapter(base: Path) -> Path:
    tiny_adapter(base, base.parent / "adapter")
    return base.parent / "adapter"


@torch.inference_mode()
def _logits(model: torch.nn.Module) -> torch.Tensor:
    logits: torch.Tensor = model(IDS).logits.float()
    return logits


def test_beside_the_base_an_adapter_does_what_it_was_trained_to_do(base: Path, adapter: Path) -> None:
    trained = _logits(load_adapted(base, adapter))
    beside = load_model(base, adapter, "fp32", merged=False)
    assert any(isinstance(module, BaseTunerLayer) for module in beside.modules())
    assert torch.equal(_logits(beside), trained)
    merged = load_model(base, adapter, "fp32")
    assert not any(isinstance(module, BaseTunerLayer) for module in merged.modules())
    assert torch.allclose(_logits(merged), trained, atol=1e-4)


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("weights", ["int8", "bf16"])
def test_rounded_weights_are_near(base: Path, adapter: Path, weights: Weights, merged: bool) -> None:
    trained, plain = _logits(load_adapted(base, adapter)), _logits(load_model(base, None, "fp32"))
    rounded = _logits(load_model(base, adapter, weights, merged))
    assert (rounded - trained).abs().mean() < 0.2 * (plain - trained).abs().mean()


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("weights", ["int8", "bf16"])
def test_positions_are_not_rounded(base: Path, adapter: Path, weights: Weights, merged: bool) -> None:
    exact = load_model(base, None, "fp32").model.rotary_emb.inv_freq
    assert exact.dtype == torch.float32
    for model in (load_model(base, None, weights), load_model(base, adapter, weights, merged)):
        assert torch.equal(model.model.rotary_emb.inv_freq, exact)


@pytest.mark.parametrize("kind", [ContinuousEngine, StaticEngine])
def test_engines_answer_alike_with_the_adapter_merged_and_beside(kind: type[LocalEngine], base: Path, adapter: Path) -> None:
    prompt = Prompt.from_base(base)
    requests = [asked(prompt, question, new=12) for question in QUESTIONS[:3]]
    answers = []
    for merged in (True, False):
        engine = kind(base, adapter, prompt, max_context=128, weights="fp32", merged=merged)
        engine.start()
        answers.append(engine.generate_many(requests))
        engine.stop()
    assert answers[0] == answers[1]
    assert not any(completion.error for completion in answers[0])


def test_dora_beside_int8_weights_is_refused(base: Path, tmp_path: Path) -> None:
    tiny_adapter(base, tmp_path, dora=True)
    with pytest.raises(UserError, match="DoRA beside int8 weights; expected merged, or bf16 or fp32 weights"):
        load_model(base, tmp_path, "int8", merged=False)
    assert torch.equal(_logits(load_model(base, tmp_path, "fp32", merged=False)), _logits(load_adapted(base, tmp_path)))
