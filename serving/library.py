"""The knowledge index behind the service: searched in threads of its own, so that no engine can hold it up."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from legalqa.knowledge.citations import check
from legalqa.knowledge.passages import Kind
from legalqa.knowledge.retrieval import KEPT, Hit, Knowledge, KnowledgeAnswer
from legalqa.knowledge.statutes import Statutes
from legalqa.problems import UserError
from serving.answers import Quote

T = TypeVar("T")
log = logging.getLogger("legalqa.gateway")

CANNED = (
    "抱歉，暂时无法回答您的问题。请稍后再试；事情紧急的，请咨询执业律师，或者拨打公共法律服务热线 12348。"
    "咨询前可以先准备好：事情的经过和时间、涉及的合同或者单据、您希望得到的结果。"
)
PATIENCE_S = 0.06  # for a search by meaning, by who stands in for a model: the answer has to be there in a tenth of a second
# One that takes longer only keeps the cores busy, for the model that loads, too. So none is begun that by the pace of the last
# one would take more than this, as times vary by half; whether they have become quicker is tried so often beside an answer, and
# after some quiet by the next question itself.
LIKELY_S, RETRY_S, FORGET_S = 0.04, 5.0, 60.0
DISCLAIMER = "以上内容仅供参考，不构成法律意见；具体案件请咨询执业律师。"
AI_LABEL = "内容由人工智能生成"
LABEL_AT_END = f"\n\n（{AI_LABEL}）"  # where the text itself has to say it


class Remote(Protocol):
    """A server of passages, such as `legalqa.knowledge.qdrant.QdrantPassages`."""

    async def search(self, query: str, k: int, kind: Kind | None) -> list[Hit]:
        """The best passages."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class Library:
    """Search, quotation, articles. Without an index it finds nothing, and says so in ``problem``."""

    def __init__(self, knowledge: Knowledge | None, problem: str = "", remote: Remote | None = None) -> None:
        """``remote`` is searched instead of the index, as long as it answers."""
        self.knowledge = knowledge
        self.problem = problem
        self._remote = remote
        self._by_words = knowledge.by_words() if knowledge else None
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="knowledge")
        self._quick_thread = ThreadPoolExecutor(1, thread_name_prefix="by words")
        self._searched: deque[str] = deque(maxlen=KEPT // 2)
        self._pace, self._paced = 0.0, 0.0  # seconds a character of the last search by meaning, and when that was seen
        self._tried = 0.0

    @classmethod
    def open(cls, folders: Iterable[Path], remote: Callable[[Path], Remote | None] = lambda _folder: None) -> "Library":
        """The first folder that holds a whole index; ``remote`` names the server that was filled from it, if there is one."""
        problems: list[str] = []
        for folder in folders:
            try:
                return cls(Knowledge.load(folder), remote=remote(folder))
            except UserError as error:
                problems.append(str(error))
            except Exception as error:  # an index of another version: the model can still answer, and the fixed text
                log.exception("%s can't be read", folder)
                problems.append(f"{folder}: {type(error).__name__}: {error}")
        problem = "; ".join(problems) or "no bundle"
        log.error("no knowledge index, only the fixed text can stand in for the model: %s", problem)
        return cls(None, problem)

    @property
    def statutes(self) -> Statutes | None:
        """The law that citations are checked against."""
        return self.knowledge.statutes if self.knowledge else None

    async def search(self, query: str, k: int, kind: Kind) -> list[Hit]:
        """The best passages of one kind."""
        if self._remote:
            try:
                return await self._remote.search(query, k, kind)
            except Exception as error:  # whatever ails a server: the index is here
                log.warning("the passages' server gave nothing (%s), the own index is searched", type(error).__name__)
        if not self.knowledge:
            return []
        hits = await self._in_thread(partial(self.knowledge.search, query, k, kind))
        self._searched.append(query)
        return hits

    def article(self, law: str, number: str) -> list[Quote]:
        """The article in force that is named so, in any of the ways a citation is written; empty when there is none."""
        if not self.statutes:
            return []
        number = number.removeprefix("第").removesuffix("条")
        articles = [
            one.article for one in check(f"《{law}》第{number}条", self.statutes) if one.status == "valid" and one.article
        ]
        return [Quote("statute", article.name, article.text, article.name, 1.0) for article in articles[:1]]

    async def answer(self, question: str, hurried: bool = False) -> KnowledgeAnswer | None:
        """A quotation that answers; None when nothing near enough is known.

        Found by words alone when the search by meaning takes too long, or would by the pace of the last one; and for who is
        ``hurried``: it takes the cores from the answers that a model is writing.
        """
        if not self.knowledge or not self._by_words:
            return None
        # Begun in any case: after a search that takes too long there is no time left for another.
        by_words = self._quick_thread.submit(partial(self._by_words.answer, question))
        late = self._would_be_late(question)
        if not hurried and not late:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    found = await self._in_thread(partial(self._by_meaning, self.knowledge, question))
                self._searched.append(question)
                return found
            except TimeoutError:
                self._keep_pace(question, 2 * PATIENCE_S)  # at least; if it has begun it will say better itself
            except Exception:
                log.exception("a search by meaning failed")
        found = await asyncio.wrap_future(by_words)
        if not hurried and late and time.monotonic() - self._tried >= RETRY_S:
            self._tried = time.monotonic()
            self._threads.submit(self._by_meaning, self.knowledge, question).add_done_callback(_log_failure)
        return found

    def quotes(self, hits: Iterable[Hit]) -> list[Quote]:
        """Hits in the form of the service's answers."""
        return [quote(hit) for hit in hits]

    def citations(self, text: str) -> list[dict[str, Any]]:
        """Each article that ``text`` cites, once: law, number, status, and the article's words where it is known."""
        if not self.statutes:
            return []
        seen: dict[tuple[str, str], dict[str, Any]] = {}
        for checked in check(text, self.statutes):
            law, number = checked.citation.key
            article = checked.article
            label = article.label if article else f"第{number}条"
            seen[law, number] = {"law": law, "number": number, "label": label, "status": checked.status} | (
                {"text": article.text} if article else {}
            )
        return list(seen.values())

    async def close(self) -> None:
        """Hang up and end the threads."""
        if self._remote:
            await self._remote.close()
        self._threads.shutdown(wait=False)
        self._quick_thread.shutdown(wait=False)

    def _would_be_late(self, question: str) -> bool:
        if question in self._searched or time.monotonic() - self._paced > FORGET_S:
            return False
        return self._pace * _length(question) > LIKELY_S

    def _by_meaning(self, knowledge: Knowledge, question: str) -> KnowledgeAnswer | None:
        began, searches = time.monotonic(), knowledge.searches
        found = knowledge.answer(question)
        if knowledge.searches > searches:
            self._keep_pace(question, time.monotonic() - began)
        return found

    def _keep_pace(self, question: str, seconds: float) -> None:
        self._pace, self._paced = seconds / _length(question), time.monotonic()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """What ``work`` gives. Cancelled, it is not begun any more; what has begun goes on to its end."""
        return await asyncio.wrap_future(self._threads.submit(work))


def _length(question: str) -> int:
    """Characters that take time, those that the shortest question takes as long as included."""
    return len(question) + 16


def _log_failure(search: Future[KnowledgeAnswer | None]) -> None:
    if not search.cancelled() and (error := search.exception()):
        log.error("a search by meaning failed", exc_info=error)


def quote(hit: Hit) -> Quote:
    """One hit as a quote."""
    passage = hit.passage
    return Quote(passage.kind, passage.title, passage.text, passage.source, round(hit.score, 4))
