"""The knowledge behind the service: what is missing or damaged is said, and never ends the service."""

import time
from pathlib import Path

import pytest

from legalqa.knowledge.passages import Kind
from legalqa.knowledge.retrieval import Hit, KnowledgeAnswer
from legalqa.params import ServeParams
from legalqa.records import Message
from serving.agent import Agent
from serving.answers import Ask, Began, Piece, Reason
from serving.ladder import Ladder
from serving.library import CANNED, PATIENCE_S, RETRY_S, Library
from serving.switch import Switch
from tests.serving.bundles import INTEREST, PROBATION, PROBATION_ANSWER, knowledge


@pytest.mark.anyio
async def test_quotes_and_citations(tmp_path: Path) -> None:
    knowledge().save(tmp_path / "knowledge")
    library = Library.open([tmp_path / "none", tmp_path / "knowledge"])
    found = await library.answer(PROBATION)
    assert found and found.text == PROBATION_ANSWER
    quotes = library.quotes(found.hits)
    assert (quotes[0].kind, quotes[0].title) == ("answer", PROBATION)
    twice = library.citations("《中华人民共和国劳动合同法》第十条，又第十条，《中华人民共和国劳动合同法》第九十九条")
    assert [(one["number"], one["status"], "text" in one) for one in twice] == [("10", "valid", True), ("99", "unknown", False)]
    await library.close()


@pytest.mark.anyio
@pytest.mark.parametrize("damage", ["", "{", '{"other": 1}'])
async def test_without_a_whole_index_nothing_is_found_and_it_is_said_why(tmp_path: Path, damage: str) -> None:
    knowledge().save(tmp_path / "knowledge")
    (tmp_path / "knowledge" / "settings.json").write_text(damage, encoding="utf-8")
    library = Library.open([tmp_path / "knowledge"])
    assert await library.answer(PROBATION) is None
    assert await library.search(PROBATION, 3, "statute") == []
    assert library.citations(PROBATION_ANSWER) == []
    assert "knowledge" in library.problem
    await library.close()


@pytest.mark.anyio
async def test_who_stands_in_for_a_model_does_not_wait_for_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knowledge().save(tmp_path / "knowledge")
    library = Library.open([tmp_path / "knowledge"])
    assert library.knowledge
    asked: list[str] = []

    def by_meaning(question: str) -> KnowledgeAnswer:
        asked.append(question)
        time.sleep(2 * PATIENCE_S)
        return KnowledgeAnswer("by meaning", "", 1.0, ())

    monkeypatch.setattr(library.knowledge, "answer", by_meaning)
    began = time.monotonic()
    late = await library.answer(PROBATION)
    assert late and (late.text, asked) == (PROBATION_ANSWER, [PROBATION]) and time.monotonic() - began >= PATIENCE_S
    known = await library.answer(INTEREST, hurried=True)
    assert known and INTEREST in [hit.passage.title for hit in known.hits]
    assert await library.answer("rust", hurried=True) is None
    assert asked == [PROBATION]
    await library.close()


@pytest.mark.anyio
async def test_nobody_waits_for_a_meaning_that_was_late_lately_and_it_is_tried_beside_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowledge().save(tmp_path / "knowledge")
    library = Library.open([tmp_path / "knowledge"])
    assert library.knowledge
    asked: list[str] = []
    takes_s, now = [2 * PATIENCE_S], [1000.0]

    def by_meaning(question: str) -> KnowledgeAnswer:
        asked.append(question)
        now[0] += takes_s[0]
        time.sleep(takes_s[0])
        return KnowledgeAnswer("by meaning", "", 1.0, ())

    monkeypatch.setattr(library.knowledge, "answer", by_meaning)
    monkeypatch.setattr("serving.library.time.monotonic", lambda: now[0])

    async def text(question: str) -> str | None:
        found = await library.answer(question)
        await library._in_thread(lambda: time.sleep(3 * PATIENCE_S))  # whatever was begun beside it has ended
        return found and found.text

    assert (await text(PROBATION), len(asked)) == (PROBATION_ANSWER, 1)
    assert (await text(PROBATION), len(asked)) == (PROBATION_ANSWER, 1)
    now[0] += RETRY_S
    takes_s[0] = 0.0
    assert (await text(PROBATION), len(asked)) == (PROBATION_ANSWER, 2)  # by words, though by now it would have been quick
    assert (await text(PROBATION), len(asked)) == ("by meaning", 3)
    await library.close()


class _Asked(Library):
    def __init__(self) -> None:
        super().__init__(None)
        self.hurried: list[bool] = []

    async def answer(self, question: str, hurried: bool = False) -> KnowledgeAnswer | None:
        self.hurried.append(hurried)
        return None


@pytest.mark.anyio
async def test_the_cores_are_left_to_an_engine_that_is_at_work() -> None:
    library = _Asked()
    ladder = Ladder([], library, Agent(library, None, ServeParams()), Switch("auto", None, None), mark=False)
    ask = Ask((Message(role="user", content=PROBATION),), 8, deadline=0.0, first_token_by=0.0)
    reasons: list[Reason] = ["overload", "slow", "deadline", "loading", "unavailable", "no_model", "operator"]
    for reason in reasons:
        began, piece, _ = [event async for event in ladder.without_model(ask, reason)]
        assert (began, piece) == (Began("canned", "legalqa-canned", reason), Piece(CANNED))
    assert library.hurried == [True, True, True, False, False, False, False]
    await library.close()


class _Remote:
    def __init__(self, hits: list[Hit] | None) -> None:
        self._hits = hits

    async def search(self, query: str, k: int, kind: Kind | None) -> list[Hit]:
        if self._hits is None:
            raise ConnectionError("no server")
        return self._hits[:k]

    async def close(self) -> None:
        self._hits = None


@pytest.mark.anyio
async def test_a_server_of_passages_is_asked_first_and_covered_by_the_index(tmp_path: Path) -> None:
    knowledge().save(tmp_path / "knowledge")
    hit = Hit(knowledge().passages[0], 0.7)
    there, away = (Library.open([tmp_path / "knowledge"], lambda _folder, hits=hits: _Remote(hits)) for hits in ([hit], None))
    assert await there.search(PROBATION, 3, "answer") == [hit]
    assert (await away.search(PROBATION, 3, "answer"))[0].passage.title == PROBATION
    assert (await there.answer(PROBATION)).text == PROBATION_ANSWER  # type: ignore[union-attr]  # needs no server
    await there.close()
    await away.close()


@pytest.mark.anyio
async def test_a_question_is_weighed_once_for_one_answer(tmp_path: Path) -> None:
    knowledge().save(tmp_path / "knowledge")
    library = Library.open([tmp_path / "knowledge"])
    assert library.knowledge
    first = await library.search(PROBATION, 3, "answer")
    await library.search(PROBATION, 3, "statute")
    await library.answer(PROBATION)
    assert await library.search(PROBATION, 3, "answer") == first  # what one search leaves out is not missing in the next
    assert library.knowledge._weighed.cache_info().misses == 1
    await library.close()
