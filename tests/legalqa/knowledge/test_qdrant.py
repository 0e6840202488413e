"""The passages in Qdrant, run for real in the client's own local mode."""

import asyncio
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient

from legalqa.knowledge.embedding import SIZE, Embedder
from legalqa.knowledge.qdrant import QdrantPassages, main, meanings
from legalqa.knowledge.retrieval import Knowledge
from legalqa.problems import UserError
from tests.serving.bundles import INTEREST, PROBATION, knowledge

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEGALQA_CACHE", str(tmp_path / "cache"))
    knowledge(Embedder()).save(tmp_path / "knowledge")
    return tmp_path / "knowledge"


def test_words_and_meaning_find_the_same_as_in_process(folder: Path) -> None:
    local = Knowledge.load(folder)

    async def run() -> None:
        remote = QdrantPassages(AsyncQdrantClient(":memory:"), Embedder(), np.load(folder / "centre.npy"))
        assert meanings(folder).shape == (len(local.passages), SIZE)
        await remote.fill(local.passages, meanings(folder))
        await remote.fill(local.passages, meanings(folder))  # anew, not twice
        found = await remote.search(PROBATION, 5)
        assert found[0].passage == next(passage for passage in local.passages if passage.title == PROBATION)
        assert len(found) == 5 == len({hit.passage.id for hit in found})
        assert all(0 <= hit.score <= 1.001 for hit in found) and found[0].score > 0.98
        statutes = await remote.search("没有签书面劳动合同，能要二倍工资吗？", 2, "statute")
        assert statutes[0].passage.number == "82" and {hit.passage.kind for hit in statutes} == {"statute"}
        assert [hit.passage.title for hit in await remote.search(INTEREST, 1, "answer")] == [INTEREST]
        back = {hit.passage.id: hit.passage for hit in await remote.search("押金", 50)}
        assert [dataclasses.asdict(back[one.id]) for one in local.passages] == [
            dataclasses.asdict(one) for one in local.passages
        ]
        await remote.close()

    asyncio.run(run())


def test_a_server_that_is_away_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9: no Qdrant server answers .*docker run"):
        main(folder, "http://127.0.0.1:9", "")


def test_an_index_without_vectors_is_named(tmp_path: Path) -> None:
    knowledge().save(tmp_path / "knowledge")
    with pytest.raises(UserError, match=r"articles\.npy: is missing: the index has no vectors"):
        main(tmp_path / "knowledge", "http://127.0.0.1:9", "")
