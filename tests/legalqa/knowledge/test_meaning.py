from pathlib import Path

import numpy as np

from legalqa.knowledge.meaning import MeaningIndex, centred, to_bytes


def _unit(rows: int) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(rows, 384)).astype(np.float32) + 1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_bytes_keep_the_cosine() -> None:
    vectors = _unit(50)
    index = MeaningIndex(to_bytes(vectors))
    centre = vectors.mean(axis=0)
    exact = vectors - centre
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    for row in range(5):
        cosines = index.cosines(centred(vectors[row], centre))
        assert int(cosines.argmax()) == row
        assert np.allclose(cosines, exact @ exact[row], atol=0.02)


def test_round_trip(tmp_path: Path) -> None:
    index = MeaningIndex(to_bytes(_unit(3)))
    index.save(tmp_path / "v.npy")
    question = centred(_unit(1)[0], np.zeros(384, dtype=np.float32))
    assert np.array_equal(MeaningIndex.load(tmp_path / "v.npy").cosines(question), index.cosines(question))


def test_no_passages() -> None:
    assert MeaningIndex(np.zeros((0, 384), dtype=np.int8)).cosines(np.zeros(384, dtype=np.float32)).shape == (0,)
