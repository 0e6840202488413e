from pathlib import Path

import numpy as np

from legalqa.knowledge.embedding import Matrix
from legalqa.knowledge.meaning import MeaningIndex, to_bytes


def _unit(rows: int, seed: int = 0) -> Matrix:
    vectors = np.random.default_rng(seed).normal(size=(rows, 384)).astype(np.float32) + 1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_cosines_centred_and_bare() -> None:
    passages, questions = _unit(50), _unit(20, seed=1)
    asked, told = questions.mean(axis=0), passages.mean(axis=0)
    index = MeaningIndex(to_bytes(passages), asked)
    for question in questions:
        centred, bare = index.cosines(question)
        apart, turned = passages - told, question - asked
        wanted = apart @ turned / np.linalg.norm(apart, axis=1) / np.linalg.norm(turned)
        assert np.allclose(centred, wanted, atol=0.02)
        assert np.allclose(bare, passages @ question, atol=0.01)


def test_round_trip(tmp_path: Path) -> None:
    asked = _unit(9).mean(axis=0)
    index = MeaningIndex(to_bytes(_unit(3)), asked, asked)
    index.save(tmp_path / "v.npy")
    question = _unit(1, seed=2)[0]
    loaded = MeaningIndex.load(tmp_path / "v.npy", asked, asked)
    assert np.array_equal(loaded.cosines(question), index.cosines(question))


def test_no_passages() -> None:
    asked = np.zeros(384, dtype=np.float32)
    centred, bare = MeaningIndex(np.zeros((0, 384), dtype=np.int8), asked).cosines(asked)
    assert centred.shape == bare.shape == (0,)
