"""What is searched and quoted: articles in force and past answers, each with its source."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from legalqa.files import write_text
from legalqa.knowledge.citations import check
from legalqa.knowledge.statutes import Article, Statutes
from legalqa.records import Conversation

Kind = Literal["statute", "answer"]


@dataclass(frozen=True)
class Passage:
    """One thing to quote, verbatim.

    ``title`` is 《law》第…条 of an article and the question of a past answer; ``source`` names where it comes from;
    ``cites`` the articles in force, (law, number), that a past answer rests on; ``stale`` is a past answer that cites
    law which is repealed or which nobody knows: it may still lead to the right article, but is not quoted.
    """

    id: str
    kind: Kind
    title: str
    text: str
    source: str
    law: str = ""
    number: str = ""
    cites: tuple[tuple[str, str], ...] = ()
    stale: bool = False


def of_article(article: Article) -> Passage:
    """An article as a passage."""
    name = article.name
    return Passage(name, "statute", name, article.text, name, article.law, article.number)


def of_conversations(conversations: Iterable[Conversation], statutes: Statutes) -> list[Passage]:
    """Past answers in the order of the conversations; the ``source`` names the records of the raw file."""
    passages: list[Passage] = []
    for place, conversation in enumerate(conversations, start=1):
        checked = check(conversation.answer, statutes)
        cites = dict.fromkeys(one.citation.key for one in checked if one.status == "valid")
        numbers = ", ".join(map(str, conversation.records))
        passages.append(
            Passage(
                id=f"answer-{place}",
                kind="answer",
                title=conversation.question,
                text=conversation.answer,
                source=f"既往问答（原始数据第 {numbers} 条）" if numbers else f"既往问答（第 {place} 条）",
                cites=tuple(cites),
                stale=any(one.status != "valid" for one in checked),
            )
        )
    return passages


def save(path: Path, passages: Iterable[Passage]) -> None:
    """One passage a line."""
    write_text(path, "".join(json.dumps(asdict(passage), ensure_ascii=False) + "\n" for passage in passages))


def texts(path: Path) -> Iterator[str]:
    """The texts of what ``save`` wrote, one after the other."""
    return (row["text"] for row in _rows(path))


def load(path: Path) -> list[Passage]:
    """Read what ``save`` wrote."""
    return [Passage(**{**row, "cites": tuple((law, number) for law, number in row["cites"])}) for row in _rows(path)]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
