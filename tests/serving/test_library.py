"""The knowledge behind the service: what is missing or damaged is said, and never ends the service."""

import asyncio
import time
from pathlib import Path

import pytest

from legalqa.knowledge.passages import Kind
from legalqa.knowledge.retrieval import Hit, Knowledge, KnowledgeAnswer
from legalqa.params import ServeParams
from legalqa.records import Message
from serving.agent import Agent
from serving.answers import Ask, Began, Piece, Reason
from serving.ladder import Ladder
from serving.library import CANNED, FORGET_S, PATIENCE_S, RETRY_S, Library
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


class _Slow(Knowledge):
    """An index whose search by meaning takes ``seconds`` of a clock that stands still else, and can fail."""

    def __init__(self, whole: Knowledge, clock: "Clock") -> None:
        self.__dict__.update(whole.__dict__)
        self.clock, self.seconds, self.fails = clock, 0.0, False
        self.asked: list[str] = []

    def by_words(self) -> Knowledge:
        return knowledge()

    @property
    def searches(self) -> int:
        return len(set(self.asked))

    def answer(self, question: str) -> KnowledgeAnswer:
        if self.fails:
            raise RuntimeError("meaning fails")
        self.asked.append(question)
        self.clock.now += self.seconds
        time.sleep(self.seconds)
        return KnowledgeAnswer("by meaning", "", 1.0, ())


class Clock:
    """Of the library alone."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Slow:
    """A library over such an index."""

    def __init__(self, clock: Clock) -> None:
        self.knowledge = _Slow(knowledge(), clock)
        self.library = Library(self.knowledge)

    async def says(self, question: str) -> str | None:
        found = await self.library.answer(question)
        await asyncio.to_thread(self.library._threads.submit(lambda: time.sleep(4 * PATIENCE_S)).result)  # all begun has ended
        return found and found.text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("serving.library.time", clock)
    return clock


@pytest.mark.anyio
async def test_who_stands_in_for_a_model_does_not_wait_for_meaning(clock: Clock) -> None:
    slow = Slow(clock)
    slow.knowledge.seconds = 2 * PATIENCE_S
    began = time.monotonic()
    late = await slow.library.answer(PROBATION)
    assert late and (late.text, slow.knowledge.asked) == (PROBATION_ANSWER, [PROBATION])
    assert time.monotonic() - began >= PATIENCE_S
    known = await slow.library.answer(INTEREST, hurried=True)
    assert known and INTEREST in [hit.passage.title for hit in known.hits]
    assert await slow.library.answer("rust", hurried=True) is None
    assert slow.knowledge.asked == [PROBATION]
    await slow.library.close()


@pytest.mark.anyio
async def test_nobody_waits_for_a_meaning_that_was_late_lately_and_it_is_tried_beside_the_answers(clock: Clock) -> None:
    slow = Slow(clock)
    slow.knowledge.seconds = 2 * PATIENCE_S
    clock.now += RETRY_S
    for marks, tried in (("", 1), ("？", 2), ("？？", 2)):  # waited for; tried beside the answer; left alone
        assert (await slow.says(PROBATION + marks), len(slow.knowledge.asked)) == (PROBATION_ANSWER, tried)
    clock.now += RETRY_S
    slow.knowledge.seconds = 0.0
    assert (await slow.says(PROBATION + "。"), len(slow.knowledge.asked)) == (PROBATION_ANSWER, 3)
    assert (await slow.says(PROBATION + "！"), len(slow.knowledge.asked)) == ("by meaning", 4)
    await slow.library.close()


@pytest.mark.anyio
async def test_after_some_quiet_a_question_waits_again_and_a_long_one_says_nothing_about_a_short_one(clock: Clock) -> None:
    slow = Slow(clock)
    slow.knowledge.seconds = 1.5 * PATIENCE_S
    assert await slow.says(PROBATION * 20) != "by meaning"
    slow.knowledge.seconds = 0.0
    assert await slow.says("押金？") == "by meaning"
    slow.knowledge.seconds = 2 * PATIENCE_S
    assert await slow.says(PROBATION) == PROBATION_ANSWER
    clock.now += FORGET_S + 1
    slow.knowledge.seconds = 0.0
    assert await slow.says(PROBATION + "？") == "by meaning"
    await slow.library.close()


@pytest.mark.anyio
async def test_what_was_searched_for_the_model_is_not_searched_by_words(clock: Clock) -> None:
    slow = Slow(clock)
    slow.knowledge.seconds = 2 * PATIENCE_S
    assert await slow.says(PROBATION + "？？") == PROBATION_ANSWER
    await slow.library.search(PROBATION, 3, "answer")
    slow.knowledge.seconds = 0.0
    assert await slow.says(PROBATION) == "by meaning"
    await slow.library.close()


@pytest.mark.anyio
async def test_words_stand_in_for_a_meaning_that_fails(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    slow = Slow(clock)
    slow.knowledge.fails = True
    assert await slow.says(PROBATION) == PROBATION_ANSWER
    assert "meaning fails" in caplog.text
    await slow.library.close()


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
    ladder = Ladder([], library, Agent(library, None, ServeParams()), Switch("auto", None, None), ServeParams())
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
