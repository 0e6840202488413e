"""Can a model's attention be exchanged for one that sees a whole sequence and nothing else? Asked of its config alone.

Packed training and continuous batching read many texts in one row, with an attention of their own that keeps them apart.
"""

from pathlib import Path
from typing import Any

from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

LATENT = ("kv_lora_rank", "qk_rope_head_dim", "v_head_dim")  # DeepSeek's attention, with heads of two widths
ODD = ("diffllama", "doge", "gemma4_text")  # a layer that calls its attention twice, or heads that differ by layer


def own_attention(folder: Path, length: int) -> str:
    """Why the model in ``folder`` must keep its own attention for texts of up to ``length`` tokens; "" if it need not.

    A model that has it built in would not notice, and read several users' questions as one text. Windows that hold the whole
    text hide nothing. Attention that can't be torch's scaled dot product does more than look: it has sinks, or caps.
    """
    if not (folder / "config.json").is_file():
        return ""  # who loads it says so
    config: Any = AutoConfig.from_pretrained(folder, local_files_only=True)
    kind = f"model_type {config.model_type!r}"
    model: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    if not model._supports_attention_backend:
        return f"{kind}, whose attention is built into its code"
    text = config.get_text_config()
    if config.model_type in ODD or any(getattr(text, key, None) for key in LATENT):
        return f"{kind}, whose keys and values are of another form"
    layers = getattr(text, "layer_types", None)
    window = getattr(text, "sliding_window", None)
    other = set(layers or ["sliding_attention" if window else "full_attention"]) - {"full_attention"}
    if window is not None and window >= length:
        other.discard("sliding_attention")
    if other:
        seen = f", looking back {window} tokens" if "sliding_attention" in other else ""
        return f"{kind}, with layers of kind {', '.join(sorted(other))}{seen}"
    if not model._supports_sdpa:
        return f"{kind}, whose attention has sinks or caps its logits"
    return ""
