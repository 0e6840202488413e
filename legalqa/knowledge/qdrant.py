"""Passages in a Qdrant server: for a collection that outgrows one process, or that several replicas share.

Each passage has two vectors there: its words (sparse; the server weighs them by how rare they are) and its meaning (of the
packaged embedding model, the mean taken off as in legalqa.knowledge.meaning). A search asks for both in one call and fuses the
ranks.

    docker run -p 6333:6333 -v qdrant:/qdrant/storage qdrant/qdrant
    python -m legalqa.knowledge.qdrant models/knowledge --url http://localhost:6333
"""

import argparse
import asyncio
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse
from tqdm import tqdm

from legalqa.knowledge import words
from legalqa.knowledge.embedding import SIZE, Embedder, Matrix
from legalqa.knowledge.meaning import MeaningIndex, Vector
from legalqa.knowledge.passages import Kind, Passage
from legalqa.knowledge.retrieval import Hit, Knowledge
from legalqa.problems import Problem, UserError
from legalqa.stage import stage

COLLECTION = "legalqa"
WORDS, MEANING = "words", "meaning"
ERRORS = (ApiException, UnexpectedResponse, OSError, TimeoutError, ValueError)  # what a server that is away or wrong raises
TIMEOUT_S = 2
_CANDIDATES = 50
_BATCH = 256
_TIMES = 1.2  # how soon repetition of a word stops counting, as in BM25


class QdrantPassages:
    """Searches one collection. ``search`` has the form of `Knowledge.search`, but waits for a server."""

    def __init__(self, client: AsyncQdrantClient, embedder: Embedder, centre: Vector, collection: str = COLLECTION) -> None:
        """``centre`` is the mean vector of questions."""
        self._client = client
        self._embedder = embedder
        self._centre = centre
        self._collection = collection

    @classmethod
    def at(cls, url: str, api_key: str, folder: Path) -> "QdrantPassages":
        """The server at ``url``, filled from the index in ``folder``; asked only with the first search.

        Raises UserError when that index has no vectors or the embedding model is not there.
        """
        client = AsyncQdrantClient(url=url, api_key=api_key or None, timeout=TIMEOUT_S, check_compatibility=False)
        return cls(client, Embedder(), _vectors(folder, "centre"))

    async def search(self, query: str, k: int = 5, kind: Kind | None = None) -> list[Hit]:
        """The ``k`` best passages, best first; ``score`` is the cosine of the meanings, 0 to 1. Raises one of ``ERRORS``."""
        terms = _sparse(words.terms(query))
        meaning = self._embedder.questions([query])[0] - self._centre
        only = None
        if kind:
            only = models.Filter(must=[models.FieldCondition(key="kind", match=models.MatchValue(value=kind))])
        prefetch = [
            models.Prefetch(query=vector, using=using, limit=_CANDIDATES, filter=only)
            for vector, using in ((terms, WORDS), (meaning.tolist(), MEANING))
        ]
        fused = models.FusionQuery(fusion=models.Fusion.RRF)
        found = await self._client.query_points(
            self._collection, prefetch=prefetch, query=fused, limit=k, with_payload=True, with_vectors=[MEANING]
        )
        return [Hit(_passage(point.payload or {}), _cosine(meaning, point.vector)) for point in found.points]

    async def fill(self, passages: Sequence[Passage], meanings: Matrix) -> None:
        """Write the collection anew. ``meanings`` [n, 384] are the passages' vectors, their mean taken off."""
        if await self._client.collection_exists(self._collection):
            await self._client.delete_collection(self._collection)
        await self._client.create_collection(
            self._collection,
            vectors_config={MEANING: models.VectorParams(size=SIZE, distance=models.Distance.COSINE)},
            sparse_vectors_config={WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
        )
        await self._client.create_payload_index(self._collection, "kind", models.PayloadSchemaType.KEYWORD)
        for start in tqdm(range(0, len(passages), _BATCH), desc="upload", disable=len(passages) < 1000):
            points = [
                models.PointStruct(
                    id=start + place,
                    vector={WORDS: _sparse(words.terms(f"{one.title} {one.text}")), MEANING: meanings[start + place].tolist()},
                    payload=asdict(one),
                )
                for place, one in enumerate(passages[start : start + _BATCH])
            ]
            await self._client.upsert(self._collection, points, wait=True)

    async def close(self) -> None:
        """Hang up."""
        await self._client.close()


def meanings(folder: Path) -> Matrix:
    """Vectors [n, 384] of all passages of an index: articles less their own mean, past questions less that of questions."""
    articles, asked, centre = (_vectors(folder, name) for name in ("articles", "questions", "centre"))
    return np.concatenate([MeaningIndex(articles, centre).centred(), MeaningIndex(asked, centre, centre).centred()])


def _vectors(folder: Path, name: str) -> Any:
    path = folder / f"{name}.npy"
    try:
        return np.load(path)
    except FileNotFoundError:
        fix = "knowledge.meaning: true in params.yaml, then dvc repro knowledge"
        raise UserError(Problem(str(path), "is missing: the index has no vectors", fix=fix)) from None


def _sparse(terms: Sequence[str]) -> models.SparseVector:
    """Terms as a sparse vector; a term's place is a hash of it, so no vocabulary has to be kept."""
    counted = Counter(zlib.crc32(term.encode()) for term in terms)
    return models.SparseVector(indices=list(counted), values=[times / (times + _TIMES) for times in counted.values()])


def _cosine(meaning: Vector, vector: Any) -> float:
    stored = np.asarray(vector[MEANING], dtype=np.float32)
    return max(float(stored @ meaning / (np.linalg.norm(stored) * np.linalg.norm(meaning) + 1e-9)), 0.0)


def _passage(payload: dict[str, Any]) -> Passage:
    return Passage(**payload | {"cites": tuple((law, number) for law, number in payload["cites"])})


def main(folder: Path, url: str, api_key: str) -> None:
    """models/knowledge -> a collection of the server at ``url``. Raises UserError when it can't be reached."""
    passages, centred = Knowledge.load(folder).passages, meanings(folder)

    async def upload() -> None:
        remote = QdrantPassages.at(url, api_key, folder)
        try:
            await remote.fill(passages, centred)
        finally:
            await remote.close()

    try:
        asyncio.run(upload())
    except ERRORS as error:
        fix = "start it: docker run -p 6333:6333 qdrant/qdrant"
        raise UserError(Problem(url, f"no Qdrant server answers ({type(error).__name__})", fix=fix)) from None
    print(f"{len(passages)} passages in {url}, collection {COLLECTION}; serve with LEGALQA_QDRANT_URL={url}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m legalqa.knowledge.qdrant", description="Passages into a Qdrant server")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", default="http://localhost:6333")
    parser.add_argument("--api-key", default="")
    given = parser.parse_args()
    with stage("qdrant"):
        main(given.folder, given.url, given.api_key)
