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
        centred = index.nearness(question)
        apart, turned = passages - told, question - asked
        wanted = apart @ turned / np.linalg.norm(apart, axis=1) / np.linalg.norm(turned)
        assert np.allclose(centred, wanted, atol=0.02)
        assert np.isclose(index.nearest(question), (passages @ question).max(), atol=0.01)


def test_turned_question_is_near_what_it_was_turned_to() -> None:
    passages = _unit(50)
    asked = _unit(20, seed=1).mean(axis=0)
    plain = MeaningIndex(to_bytes(passages), asked)
    question = _unit(1, seed=2)[0]
    towards = plain.towards(question)
    turn = 3 * np.outer(towards, plain.centred(np.array([7]))[0])  # takes this question to passage 7, threefold
    centred = MeaningIndex(to_bytes(passages), asked, turn=turn).nearness(question)
    assert centred.argmax() == 7
    assert np.isclose(centred[7], 3, atol=0.01)


def test_round_trip(tmp_path: Path) -> None:
    asked = _unit(9).mean(axis=0)
    turn = _unit(384, seed=3)
    index = MeaningIndex(to_bytes(_unit(3)), asked, asked, turn)
    index.save(tmp_path / "v.npy")
    question = _unit(1, seed=2)[0]
    loaded = MeaningIndex.load(tmp_path / "v.npy", asked, asked, turn)
    assert np.array_equal(loaded.nearness(question), index.nearness(question))


def test_no_passages() -> None:
    asked = np.zeros(384, dtype=np.float32)
    index = MeaningIndex(np.zeros((0, 384), dtype=np.int8), asked)
    assert (index.nearness(asked).shape, index.nearest(asked)) == ((0,), 0.0)
