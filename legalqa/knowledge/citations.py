"""Citations in running text: which articles of which laws it names, and whether each exists and is in force.

Read: 《中华人民共和国民法典》第一千零七十九条, 《民法典》第1079条第二款, 民法典1079条, 第1084、1085条,
第 1079 条、第一千零八十条 after a law was named, 该法第五条, and the usual short names. A range stands for its two ends;
前款 and 前条 add nothing. Not read as law: 合同第五条, 《员工手册》第三条 and the like.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from legalqa.knowledge.numerals import article_number
from legalqa.knowledge.statutes import Article, Statutes

PREFIX = "中华人民共和国"

# Short names in common use that are neither the full name nor the full name without its prefix.
SHORT_NAMES = {
    "民诉法": "民事诉讼法",
    "民事诉讼法典": "民事诉讼法",
    "刑诉法": "刑事诉讼法",
    "行诉法": "行政诉讼法",
    "消法": "消费者权益保护法",
    "消保法": "消费者权益保护法",
    "消费者保护法": "消费者权益保护法",
    "道交法": "道路交通安全法",
    "道路安全法": "道路交通安全法",
    "交通安全法": "道路交通安全法",
    "治安处罚法": "治安管理处罚法",
    "治安法": "治安管理处罚法",
    "个保法": "个人信息保护法",
    "未保法": "未成年人保护法",
    "妇女权益法": "妇女权益保障法",
    "劳动争议仲裁法": "劳动争议调解仲裁法",
    "劳动仲裁法": "劳动争议调解仲裁法",
    "社保法": "社会保险法",
    "电商法": "电子商务法",
    "食安法": "食品安全法",
    "反家暴法": "反家庭暴力法",
    "土地承包法": "农村土地承包法",
    "房地产管理法": "城市房地产管理法",
    "老年人权益法": "老年人权益保障法",
    "反诈法": "反电信网络诈骗法",
    "反电诈法": "反电信网络诈骗法",
    "村委会组织法": "村民委员会组织法",
}

_NUMERAL = r"[0-9０-９零〇一二两三四五六七八九十百千]+"
_SUB = r"(?:\s*之\s*[0-9一二三四五六七八九十]+(?![款项]))?"
_TAIL = rf"(?:\s*第?\s*{_NUMERAL}\s*款)?(?:\s*第?\s*[（(]?\s*{_NUMERAL}\s*[）)]?\s*项)?"
_NUMERALS = rf"{_NUMERAL}(?:\s*、\s*{_NUMERAL})*"
_FIRST = rf"(?:第\s*)?{_NUMERALS}\s*条{_SUB}"
_NEXT = rf"第\s*{_NUMERALS}\s*条{_SUB}"
_AND = r"\s*(?:、|，|,|；|和|及|以及|与|或|或者|至|到)\s*"
_ARTICLES = rf"{_FIRST}{_TAIL}(?:{_AND}{_FIRST}{_TAIL})*"
_ITEM = re.compile(rf"(?:第\s*)?({_NUMERALS})\s*条({_SUB})")
_QUALIFIER = re.compile(r"[（(〔\[][^）)〕\]]*(?:年|修正|修订|修改|试行|以下简称)[^）)〕\]]*[）)〕\]]")
# What makes another instrument of a law's bare name: 劳动合同法实施条例, 民法典婚姻家庭编解释一.
_INSTRUMENT = r"(?:[一-龥]{1,6}编)?(?:的?实施(?:条例|细则|办法)|的?(?:司法)?解释\s*[（(]?[一二三四五六][）)]?)"
# What numbers its own articles without being law.
_PRIVATE = r"(?:合同|协议|章程|条款|公约|规约|保单|手册|制度|本案|遗嘱|说明书|规则|诉状)"
_NOT_LAW = re.compile(rf"{_PRIVATE}(?:的|书|中|里|内)*\Z")
_NOT_LAW_TITLE = re.compile(r"(?:合同|协议|章程|保单|手册|遗嘱|说明书)书?\Z")


@dataclass(frozen=True)
class Citation:
    """``law`` by its full name where it is known, else as written; ``number`` as "1079"; text[start:end] is where it stands."""

    law: str
    number: str
    start: int
    end: int

    @property
    def key(self) -> tuple[str, str]:
        """(law, number): what scores compare."""
        return self.law, self.number


@dataclass(frozen=True)
class Checked:
    """A citation against the law: valid (in force), repealed, or unknown (no such law or article known)."""

    citation: Citation
    status: Literal["valid", "repealed", "unknown"]
    article: Article | None


def find(text: str, statutes: Statutes) -> list[Citation]:
    """Every citation in the order of the text; one article named twice stands twice."""
    names, pattern = _reader(statutes)
    found: list[Citation] = []
    law = ""
    for match in pattern.finditer(text):
        if match["title"] or match["name"]:
            law = _full_name(match["title"] or match["name"], names)
            if _NOT_LAW_TITLE.search(law):
                law = ""
        if match["articles"] and law:
            articles, offset = match["articles"], match.start("articles")
        elif match["alone"] and law and not _NOT_LAW.search(text[: match.start()]):
            articles, offset = match["alone"], match.start("alone")
        else:
            continue
        for item in _ITEM.finditer(articles):
            for written in item[1].split("、"):
                try:
                    number = article_number(f"第{written.strip()}条{item[2]}")
                except ValueError:
                    continue
                found.append(Citation(law, number, offset + item.start(), offset + item.end()))
    return found


def check(text: str, statutes: Statutes) -> list[Checked]:
    """Every citation of ``text`` with its status and, where there is one, the article."""
    return [_check(citation, statutes) for citation in find(text, statutes)]


def keys(text: str, statutes: Statutes) -> frozenset[tuple[str, str]]:
    """The set of (law, number) that ``text`` cites."""
    return frozenset(citation.key for citation in find(text, statutes))


def _check(citation: Citation, statutes: Statutes) -> Checked:
    article = statutes.article(*citation.key)
    if statutes.status(citation.law) == "repealed":
        return Checked(citation, "repealed", article)
    return Checked(citation, "valid" if article else "unknown", article)


def _full_name(written: str, names: dict[str, str]) -> str:
    plain = _QUALIFIER.sub("", re.sub(r"\s+", "", written))
    return names.get(plain, plain)


@lru_cache(maxsize=4)
def _reader(statutes: Statutes) -> tuple[dict[str, str], re.Pattern[str]]:
    names = _names(statutes.laws)
    bare = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    law = rf"《(?P<title>[^《》]{{2,80}})》|(?P<name>(?:{bare})(?:{_INSTRUMENT})?)"
    between = r"\s*(?:[（(][^（()）]{0,40}[）)])?\s*(?:的|中|里|之)?\s*(?:规定的)?\s*"
    return names, re.compile(
        rf"(?:{law})(?:{between}(?P<articles>{_ARTICLES}))?|(?P<alone>{_NEXT}{_TAIL}(?:{_AND}{_NEXT}{_TAIL})*)"
    )


def _names(laws: Iterable[str]) -> dict[str, str]:
    """Every name under which a law is cited -> its full name."""
    full = list(laws)
    names = {law: law for law in full}
    names |= {law.removeprefix(PREFIX): law for law in full if law.startswith(PREFIX)}
    names |= {short: names[long] for short, long in SHORT_NAMES.items() if long in names}
    return names
