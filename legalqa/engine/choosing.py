"""Which engine runs a model of one's own: continuous batches, or static ones where the model needs its own attention."""

from pathlib import Path
from typing import Literal

from legalqa.base.attention import own_attention
from legalqa.engine.continuous_engine import ContinuousEngine
from legalqa.engine.local_engine import LocalEngine
from legalqa.engine.static_engine import StaticEngine

Batches = Literal["auto", "static"]


def engine_for(base: Path, max_context: int, batches: Batches = "auto") -> type[LocalEngine]:
    """The kind of engine for the model in ``base`` and texts of up to ``max_context`` tokens."""
    return StaticEngine if batches == "static" or own_attention(base, max_context) else ContinuousEngine
