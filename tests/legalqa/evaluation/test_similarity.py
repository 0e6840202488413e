import numpy as np
import pytest

from legalqa.evaluation.similarity import BATCH, Similarity
from legalqa.knowledge.embedding import Embedder

REFERENCE = "借款到期不还的，可以向人民法院起诉，要求返还本金和利息。"


def test_the_same_meaning_is_nearer_than_the_same_words(similarity: Similarity) -> None:
    same_meaning = similarity.best("对方欠钱逾期未归还，您有权提起诉讼追讨本息。", [REFERENCE])
    other_meaning = similarity.best("向人民法院起诉离婚，要求抚养孩子。", [REFERENCE])
    assert 1 > same_meaning > other_meaning + 0.01
    assert similarity.best(REFERENCE, [REFERENCE]) == pytest.approx(1)


def test_the_nearest_reference_counts(similarity: Similarity) -> None:
    assert similarity.best(REFERENCE, ["今天天气很好。", REFERENCE]) == pytest.approx(1)


def test_every_text_is_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder, seen = Embedder(), []

    def passages(texts: list[str]) -> object:
        seen.extend(texts)
        return np.ones((len(texts), 2), np.float32)

    monkeypatch.setattr(embedder, "passages", passages)
    similarity = Similarity(embedder)
    texts = [f"答案{number}" for number in range(2 * BATCH)]
    similarity.learn([*texts, *texts, ""])
    similarity.best(texts[0], texts)
    assert sorted(seen) == sorted(texts)
