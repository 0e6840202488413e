from pathlib import Path

import numpy as np
import pytest

from legalqa.knowledge import embedding
from legalqa.knowledge.embedding import SIZE, Embedder
from legalqa.problems import UserError


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


def test_unit_vectors_near_in_meaning(embedder: Embedder) -> None:
    passages = embedder.passages(["离婚后，不满两周岁的子女，以由母亲直接抚养为原则。", "生产经营的食品不得掺假掺杂。"])
    question = embedder.questions(["孩子一岁，分手后跟爸爸还是跟妈妈"])[0]
    assert passages.shape == (2, SIZE)
    assert np.allclose(np.linalg.norm(passages, axis=1), 1, atol=1e-4)
    assert passages[0] @ question > passages[1] @ question


def test_nothing_and_odd_characters(embedder: Embedder) -> None:
    assert embedder.questions([]).shape == (0, SIZE)
    assert np.isfinite(embedder.questions(["", "\0", "😀" * 50, "法" * 3000])).all()


def test_another_model_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedding, "MODEL_SHA256", "0" * 64)
    with pytest.raises(UserError, match="not the pinned embedding model"):
        Embedder()
