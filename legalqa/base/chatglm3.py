"""ChatGLM3's original checkpoint layout -> native GlmForCausalLM with a fast tokenizer."""

from pathlib import Path


def write(source: Path, folder: Path) -> None:
    """Fill ``folder`` from an original ChatGLM3 checkpoint."""
    raise NotImplementedError
