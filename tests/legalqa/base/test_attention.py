from pathlib import Path

import pytest
from transformers import (
    BloomConfig,
    DeepseekV2Config,
    DiffLlamaConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GlmConfig,
    GptOssConfig,
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
        (Gemma2Config(**WINDOWS), 512, "model_type 'gemma2', whose attention has sinks or caps its logits"),
        (GptOssConfig(**WINDOWS), 512, "model_type 'gpt_oss', whose attention has sinks or caps its logits"),
        (DeepseekV2Config(), 512, "model_type 'deepseek_v2', whose keys and values are of another form"),
        (DiffLlamaConfig(), 512, "model_type 'diffllama', whose keys and values are of another form"),
    ],
)
def test_why_a_model_keeps_its_attention(config: PretrainedConfig, length: int, why: str, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    assert own_attention(tmp_path, length) == why


def test_where_no_model_is_nothing_is_said(tmp_path: Path) -> None:
    assert own_attention(tmp_path, 512) == ""
