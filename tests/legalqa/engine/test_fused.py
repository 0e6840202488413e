from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GPTBigCodeConfig, LlamaConfig, PretrainedConfig, Qwen2Config, Qwen3Config

from legalqa.engine import slots
from legalqa.engine.attention import Rows
from legalqa.engine.fused import fits
from legalqa.engine.quantised import quantise
from legalqa.engine.slots import SlotModel

IDS = [5, 17, 33, 90, 41, 12, 60, 7]
SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-3,
}
LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def _model(config: PretrainedConfig) -> Any:
    """Quantised; no number of it is left at 0 or 1, where a mistake would not be seen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for values in model.parameters():
            values.data += 0.3 * torch.randn_like(values) / values.shape[-1] ** 0.5
        for name, values in model.named_parameters():
            if "q_proj" in name or "k_proj" in name:
                values.data *= 4  # who looks where matters
    quantise(model)
    return model.eval()


def _logits(model: SlotModel) -> Tensor:
    """A prompt, a step of one, and a step of several with a neighbour."""
    (prompt,) = model.forward([Rows(1, 0, IDS[:4])])
    (one,) = model.forward([Rows(1, 4, IDS[4:5])])
    _, several = model.forward([Rows(0, 0, [9, 9]), Rows(1, 5, IDS[5:])])
    return torch.cat((prompt, one, several))


@pytest.mark.parametrize(
    "config",
    [
        Qwen2Config(**SIZES),
        LlamaConfig(**SIZES, tie_word_embeddings=True),
        LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True),
        LlamaConfig(**SIZES, head_dim=24, rope_parameters=LLAMA_3),
    ],
    ids=["qwen2", "llama", "llama with biases", "llama 3 with wide heads"],
)
def test_same_numbers_as_the_modules(config: PretrainedConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(config)
    assert fits(model)
    fused = _logits(SlotModel(model, slots=2, length=32))
    monkeypatch.setattr(slots, "fits", lambda _model: False)
    expected = _logits(SlotModel(model, slots=2, length=32))
    # A last bit may tip an integer or a bf16 over, which is 0.02 to 0.08 in models as small as this.
    assert torch.allclose(fused, expected, atol=0.1 * float(expected.std()))


def test_other_kinds_keep_their_own_arithmetic() -> None:
    assert not fits(_model(Qwen3Config(**SIZES, head_dim=8)))
    assert not fits(_model(GPTBigCodeConfig(vocab_size=96, n_positions=64, n_embd=64, n_layer=2, n_head=4)))
    assert not fits(_model(LlamaConfig(**SIZES, hidden_act="gelu")))


def test_weights_that_are_not_integers_keep_their_own_arithmetic() -> None:
    assert not fits(AutoModelForCausalLM.from_config(Qwen2Config(**SIZES)))
