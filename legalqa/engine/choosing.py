"""Which engine runs a model of one's own: continuous batches, or static ones where the model needs its own attention."""

import logging
from pathlib import Path
from typing import Literal

from legalqa.base.attention import own_attention
from legalqa.engine.continuous_engine import ContinuousEngine
from legalqa.engine.local_engine import LocalEngine
from legalqa.engine.static_engine import StaticEngine

Batches = Literal["auto", "static"]

log = logging.getLogger(__name__)


def engine_for(base: Path, max_context: int, batches: Batches = "auto") -> type[LocalEngine]:
    """The kind of engine for the model in ``base`` and texts of up to ``max_context`` tokens. Logs why, if it is static."""
    why = "asked for" if batches == "static" else own_attention(base, max_context)
    if not why:
        return ContinuousEngine
    log.info("static batches: %s", why)
    return StaticEngine
