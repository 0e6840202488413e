from pathlib import Path

import pytest
from transformers import (
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GlmConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3_5TextConfig,
)

from legalqa.base.attention import own_attention

WINDOWS = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 512}


@pytest.mark.parametrize(
    ("config", "length", "why"),
    [
        (Qwen2Config(), 2048, ""),
        (LlamaConfig(), 2048, ""),
        (GlmConfig(pad_token_id=0), 2048, ""),
        (BloomConfig(), 16, "model_type 'bloom', whose attention is built into its code"),
        (Qwen3_5TextConfig(), 16, "model_type 'qwen3_5_text', whose attention is built into its code"),
        (Gemma3TextConfig(**WINDOWS), 512, ""),
        (
            Gemma3TextConfig(**WINDOWS),
            513,
            "model_type 'gemma3_text', with layers of kind sliding_attention, looking back 512 tokens",
        ),
        (MistralConfig(sliding_window=4096), 4096, ""),  # says nothing of its layers
        (
            MistralConfig(sliding_window=4096),
            4097,
            "model_type 'mistral', with layers of kind sliding_attention, looking back 4096 tokens",
        ),
        (Gemma2Config(**WINDOWS), 512, "model_type 'gemma2', which caps the logits of its attention"),
        (Gemma2Config(**WINDOWS, attn_logit_softcapping=None), 512, ""),
    ],
)
def test_why_a_model_keeps_its_attention(config: PretrainedConfig, length: int, why: str, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    assert own_attention(tmp_path, length) == why
