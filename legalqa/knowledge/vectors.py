"""Vectors that were computed once: those of the articles travel with this repository, others stay in the cache folder.

Twenty-three thousand articles take ten minutes on two quiet cores, more than the rest of the pipeline's data work together.
For a new version of the law `python -m legalqa.knowledge.vectors` computes what data/statutes/vectors.npz lacks.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from legalqa.files import written_aside
from legalqa.knowledge.embedding import MODEL_SHA256, SIZE, Embedder
from legalqa.knowledge.meaning import Bytes, Vector, to_bytes
from legalqa.knowledge.statutes import Article, Statutes
from legalqa.stage import stage
from legalqa.wheels import cache_folder

_DATA = Path(__file__).parent.parent.parent / "data" / "statutes"
SHIPPED = _DATA / "vectors.npz"
TURN = _DATA / "turn.npy"
_BATCH = 16
_LONGEST = 600  # characters of an article that are embedded; the rest is tables and annexes


def article_text(article: Article) -> str:
    """What of an article is embedded: the law's short name and the chapter say what it is about."""
    return f"{article.law.removeprefix('中华人民共和国')} {article.heading}：{article.text[:_LONGEST]}"


def of_articles(articles: Sequence[Article], embedder: Embedder) -> Bytes:
    """Vectors of articles, [n, 384]."""
    return _Store(embedder).get([article_text(article) for article in articles], is_question=False)


def of_questions(questions: Sequence[str], embedder: Embedder) -> Bytes:
    """Vectors of questions, [n, 384]."""
    return _Store(embedder).get(list(questions), is_question=True)


def centre_of_questions() -> Vector:
    """The mean vector of everyday legal questions: what all questions have in common."""
    with np.load(SHIPPED) as shipped:
        centre: Vector = shipped["centre"]
    return centre


def turn_of_questions() -> Vector:
    """The matrix [384, 384] that turns a question's vector towards the law.

    Learnt by ``benchmarks/retrieval.py --fit`` on the train part of LeCoQA (oneal2000/LeCoQA, MIT: 1,097 questions with
    articles in force). It holds correlations of the 384 directions over all questions; no text can be read from it.
    """
    turn: Vector = np.load(TURN).astype(np.float32)
    return turn


class _Store:
    """Vectors by the hash of their text, from the shipped file and the user's cache."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._cache = cache_folder() / f"vectors-{MODEL_SHA256[:16]}.npz"
        self._known: dict[int, Bytes] = {}
        for path in (SHIPPED, self._cache):
            if path.is_file():
                with np.load(path) as held:
                    self._known.update(zip(held["keys"].tolist(), held["vectors"], strict=True))

    def get(self, texts: list[str], is_question: bool) -> Bytes:
        keys = [_key(text, is_question) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if missing:
            self._compute(missing, is_question)
            self._save_cache()
        return np.array([self._known[key] for key in keys], dtype=np.int8).reshape(len(keys), SIZE)

    def _compute(self, missing: dict[int, str], is_question: bool) -> None:
        # Like lengths together: a batch takes as long as its longest text.
        order = sorted(missing, key=lambda key: (len(missing[key]), key))
        encode = self._embedder.questions if is_question else self._embedder.passages
        with tqdm(total=len(order), desc="embedding", unit="text", disable=len(order) < 100) as bar:
            for start in range(0, len(order), _BATCH):
                batch = order[start : start + _BATCH]
                self._known.update(zip(batch, to_bytes(encode([missing[key] for key in batch])), strict=True))
                bar.update(len(batch))

    def _save_cache(self) -> None:
        with np.load(SHIPPED) as shipped:
            own = sorted(self._known.keys() - set(shipped["keys"].tolist()))
        with written_aside(self._cache) as aside, aside.open("wb") as file:
            np.savez(
                file, keys=np.array(own, dtype=np.uint64), vectors=np.array([self._known[key] for key in own], dtype=np.int8)
            )


def _key(text: str, is_question: bool) -> int:
    kind = b"question:" if is_question else b"passage:"
    return int.from_bytes(hashlib.sha256(kind + text.encode()).digest()[:8], "big")


def main() -> None:
    """Write the shipped file anew for the law in force; what it has already is kept."""
    articles = Statutes.packaged().in_force()
    centre = centre_of_questions()
    vectors = of_articles(articles, Embedder())
    keys = np.array([_key(article_text(article), False) for article in articles], dtype=np.uint64)
    with written_aside(SHIPPED) as aside, aside.open("wb") as file:
        np.savez(file, keys=keys, vectors=vectors, centre=centre)
    print(f"{SHIPPED}: {len(keys)} articles")


if __name__ == "__main__":
    with stage("vectors"):
        main()
