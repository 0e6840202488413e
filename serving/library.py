"""The knowledge index behind the service: searched in threads of its own, so that no engine can hold it up."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from legalqa.knowledge.citations import check
from legalqa.knowledge.passages import Kind
from legalqa.knowledge.retrieval import Hit, Knowledge, KnowledgeAnswer
from legalqa.knowledge.statutes import Statutes
from legalqa.problems import UserError
from serving.answers import Quote

T = TypeVar("T")
log = logging.getLogger("legalqa.gateway")

CANNED = (
    "抱歉，暂时无法回答您的问题。请稍后再试；事情紧急的，请咨询执业律师，或者拨打公共法律服务热线 12348。"
    "咨询前可以先准备好：事情的经过和时间、涉及的合同或者单据、您希望得到的结果。"
)
PATIENCE_S = 0.04  # for a search by meaning, by who stands in for a model: the answer has to be there in a tenth of a second
RETRY_S = 5.0  # after one that took longer nobody waits for the next; whether it has become quicker is tried so often
DISCLAIMER = "以上内容仅供参考，不构成法律意见；具体案件请咨询执业律师。"
AI_LABEL = "内容由人工智能生成"


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
        self._meaning_s, self._tried = 0.0, 0.0  # how long the last search by meaning took, when it was tried

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
        return await self._in_thread(partial(self.knowledge.search, query, k, kind))

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

        Found by words alone when the search by meaning takes too long, or took too long lately, as it then only keeps the cores
        busy; and for who is ``hurried``: it takes the cores from the answers that a model is writing.
        """
        if not self.knowledge or not self._by_words:
            return None
        # Begun in any case: after a search that takes too long there is no time left for another.
        by_words = self._quick_thread.submit(partial(self._by_words.answer, question))
        quick = self._meaning_s <= PATIENCE_S
        if quick and not hurried:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    return await self._in_thread(partial(self._by_meaning, self.knowledge, question))
        found = await asyncio.wrap_future(by_words)
        if not quick and not hurried and time.monotonic() - self._tried >= RETRY_S:
            self._tried = time.monotonic()
            self._threads.submit(self._by_meaning, self.knowledge, question)
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

    def _by_meaning(self, knowledge: Knowledge, question: str) -> KnowledgeAnswer | None:
        self._tried = time.monotonic()
        try:
            return knowledge.answer(question)
        finally:
            self._meaning_s = time.monotonic() - self._tried

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """What ``work`` gives. Cancelled, it is not begun any more; what has begun goes on to its end."""
        return await asyncio.wrap_future(self._threads.submit(work))


def quote(hit: Hit) -> Quote:
    """One hit as a quote."""
    passage = hit.passage
    return Quote(passage.kind, passage.title, passage.text, passage.source, round(hit.score, 4))
