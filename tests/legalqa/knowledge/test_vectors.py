from pathlib import Path

import numpy as np
import pytest

from legalqa.knowledge import vectors
from legalqa.knowledge.embedding import Embedder
from legalqa.knowledge.meaning import to_bytes
from legalqa.knowledge.statutes import Article, Statutes


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture(scope="module")
def articles() -> list[Article]:
    return Statutes.packaged().in_force()  # before the cache moves: it holds the wheel


@pytest.fixture
def cache(articles: list[Article], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEGALQA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_shipped_vectors_are_those_of_the_articles_in_force(articles: list[Article], embedder: Embedder, cache: Path) -> None:
    shipped = vectors.of_articles(articles, embedder)
    assert not list(cache.glob("vectors*"))  # none had to be computed
    sample = [articles[at] for at in range(0, len(articles), len(articles) // 12)]
    fresh = to_bytes(embedder.passages([vectors.article_text(article) for article in sample])).astype(float)
    kept = vectors.of_articles(sample, embedder).astype(float)
    cosines = (fresh * kept).sum(1) / np.linalg.norm(fresh, axis=1) / np.linalg.norm(kept, axis=1)
    assert shipped.shape == (len(articles), 384)
    assert cosines.min() > 0.999


def test_turn_keeps_most_of_a_question() -> None:
    turn = vectors.turn_of_questions()
    questions = np.random.default_rng(0).normal(size=(100, 384)).astype(np.float32)
    turned = questions @ turn
    cosines = (questions * turned).sum(1) / np.linalg.norm(questions, axis=1) / np.linalg.norm(turned, axis=1)
    assert turn.shape == (384, 384)
    assert cosines.min() > 0.8


def test_unknown_texts_are_computed_once(embedder: Embedder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = vectors.of_questions(["房东不退押金怎么办", "公司拖欠工资"], embedder)
    assert len(list(cache.glob("vectors-*.npz"))) == 1
    monkeypatch.setattr(Embedder, "questions", None)
    assert np.array_equal(vectors.of_questions(["公司拖欠工资", "房东不退押金怎么办"], embedder), first[::-1])


def test_no_question(embedder: Embedder, cache: Path) -> None:
    assert vectors.of_questions([], embedder).shape == (0, 384)
