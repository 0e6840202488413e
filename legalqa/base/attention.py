"""Can a model's attention be exchanged for one that sees a whole sequence and nothing else? Asked of its config alone.

Packed training and continuous batching read many texts in one row, with an attention of their own that keeps them apart.
"""

from pathlib import Path
from typing import Any

from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING


def own_attention(folder: Path, length: int) -> str:
    """Why the model in ``folder`` must keep its own attention for texts of up to ``length`` tokens; "" if it need not.

    A model that has it built in would not notice, and read several users' questions as one text. Windows that hold the whole
    text hide nothing.
    """
    config: Any = AutoConfig.from_pretrained(folder, local_files_only=True)
    kind = f"model_type {config.model_type!r}"
    if not MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]._supports_attention_backend:
        return f"{kind}, whose attention is built into its code"
    text = config.get_text_config()
    layers = getattr(text, "layer_types", None)
    window = getattr(text, "sliding_window", None)
    other = set(layers or ["sliding_attention" if window else "full_attention"]) - {"full_attention"}
    if window is not None and window >= length:
        other.discard("sliding_attention")
    if other:
        seen = f", looking back {window} tokens" if "sliding_attention" in other else ""
        return f"{kind}, with layers of kind {', '.join(sorted(other))}{seen}"
    if getattr(text, "attn_logit_softcapping", None):
        return f"{kind}, which caps the logits of its attention"
    return ""
