"""The knowledge base: statutes in force and past answers, searched together, quoted verbatim.

A folder holds all of it (statutes.jsonl, answers.jsonl, the indexes, settings.json), so that evaluation and the service
search the same thing and need nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from legalqa.files import read_json, write_json, written_aside
from legalqa.knowledge import citations, passages, words
from legalqa.knowledge.index import TermIndex, Vector
from legalqa.knowledge.passages import Kind, Passage
from legalqa.knowledge.statutes import Statutes
from legalqa.problems import Problem, UserError
from legalqa.records import Conversation

# A past answer is found by its question first, by its own words second.
QUESTION, ANSWER = 0.75, 0.25
PAST_FIELDS = ("questions", "replies")


@dataclass(frozen=True)
class Hit:
    """A passage found, ``score`` from 0 to 1."""

    passage: Passage
    score: float


@dataclass(frozen=True)
class KnowledgeAnswer:
    """A verbatim quotation: ``text`` as it stands in its ``source``, and what else was found."""

    text: str
    source: str
    score: float
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class Settings:
    """``threshold``: score under which nothing is found; ``near``: score from which a past answer is quoted."""

    threshold: float
    near: float
    words: str


class Knowledge:
    """Search and quotation over one folder."""

    def __init__(
        self,
        statutes: Statutes,
        answers: list[Passage],
        settings: Settings,
        articles: TermIndex,
        past: tuple[TermIndex, TermIndex] | None,
    ) -> None:
        self.statutes = statutes
        self.settings = settings
        self.passages = [*map(passages.of_article, statutes.in_force()), *answers]
        self._place = {passage.id: place for place, passage in enumerate(self.passages)}
        self._answers = answers
        self._articles = articles
        self._past = past  # questions and replies; None without past answers

    @classmethod
    def build(
        cls, statutes: Statutes, conversations: Iterable[Conversation], threshold: float, near: float = 0.55
    ) -> "Knowledge":
        """Index the articles in force and the answers of ``conversations``."""
        answers = passages.of_conversations(conversations, statutes)
        law = [passages.of_article(article) for article in statutes.in_force()]
        return cls(
            statutes,
            answers,
            Settings(threshold, near, words.fingerprint()),
            TermIndex.build(words.terms(f"{p.law.removeprefix(citations.PREFIX)} {p.text}") for p in law),
            (
                TermIndex.build((words.terms(p.title) for p in answers), k1=0.3),
                TermIndex.build(words.terms(p.text) for p in answers),
            )
            if answers
            else None,
        )

    def search(self, query: str, k: int = 5, kind: Kind | None = None) -> list[Hit]:
        """The ``k`` best passages at or above the threshold, best first; of one ``kind`` when it is given.

        An article that the query names (民法典第1079条) comes first with score 1.
        """
        scores = self._scores(query)
        if kind == "statute":
            scores[self._articles.size :] = 0
        elif kind == "answer":
            scores[: self._articles.size] = 0
        best = np.argsort(-scores, kind="stable")[:k]
        return [
            Hit(self.passages[place], float(scores[place]))
            for place in best
            if scores[place] >= self.settings.threshold and scores[place] > 0
        ]

    def answer(self, question: str) -> KnowledgeAnswer | None:
        """A quotation: the past answer to nearly the same question, else the nearest article; None outside the law."""
        past = [hit for hit in self.search(question, 3, "answer") if not hit.passage.stale]
        law = self.search(question, 5, "statute")
        if past and past[0].score >= self.settings.near:
            best = past[0]
            return KnowledgeAnswer(best.passage.text, best.passage.source, best.score, (best, *law))
        if law:
            best = law[0]
            return KnowledgeAnswer(f"{best.passage.title}：{best.passage.text}", best.passage.source, best.score, (*law, *past))
        return None

    def _scores(self, query: str) -> Vector:
        terms = words.terms(query)
        parts = [self._articles.shares(terms)]
        if self._past:
            questions, replies = self._past
            parts.append(QUESTION * questions.shares(terms) + ANSWER * replies.shares(terms))
        scores: Vector = np.concatenate(parts)
        for law, number in citations.keys(query, self.statutes):
            article = self.statutes.article(law, number)
            if article is not None and article.name in self._place:
                scores[self._place[article.name]] = 1.0
        return scores

    def save(self, folder: Path) -> None:
        """Write the whole folder; the same content gives the same bytes."""
        with written_aside(folder) as aside:
            self.statutes.save(aside / "statutes.jsonl")
            passages.save(aside / "answers.jsonl", self._answers)
            write_json(aside / "settings.json", vars(self.settings))
            self._articles.save(aside / "articles")
            if self._past:
                for name, index in zip(PAST_FIELDS, self._past, strict=True):
                    index.save(aside / name)

    @classmethod
    def load(cls, folder: Path) -> "Knowledge":
        """Read what ``save`` wrote.

        Raises UserError when the folder is not whole or its words were cut otherwise than they would be here.
        """
        try:
            settings = Settings(**read_json(folder / "settings.json"))
            if settings.words != words.fingerprint():
                raise UserError(
                    Problem(
                        f"{folder}/settings.json",
                        "its words were cut by another version of rjieba or of this code",
                        f"cut {words.fingerprint()}",
                        "build the index anew: dvc repro knowledge",
                    )
                )
            answers = passages.load(folder / "answers.jsonl")
            articles = TermIndex.load(folder / "articles")
            questions, replies = (TermIndex.load(folder / name) if answers else None for name in PAST_FIELDS)
            past = (questions, replies) if questions and replies else None
            return cls(Statutes.load(folder / "statutes.jsonl"), answers, settings, articles, past)
        except FileNotFoundError as error:
            missing = error.filename or str(folder)
            raise UserError(Problem(str(missing), "is missing from the knowledge base", fix="dvc repro knowledge")) from None
