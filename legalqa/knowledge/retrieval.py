"""The knowledge base: statutes in force and past answers, searched together by words and by meaning, quoted verbatim.

A folder holds all of it (statutes.jsonl, answers.jsonl, the indexes, settings.json), so that evaluation and the service
search the same thing and need nothing else.
"""

from collections.abc import Iterable
from copy import copy
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from legalqa.files import read_json, write_json, written_aside
from legalqa.knowledge import passages, words
from legalqa.knowledge.citations import keys
from legalqa.knowledge.embedding import MODEL_SHA256, Embedder
from legalqa.knowledge.evidence import Evidence
from legalqa.knowledge.meaning import Vector
from legalqa.knowledge.passages import Kind, Passage
from legalqa.knowledge.statutes import Statutes
from legalqa.problems import Problem, UserError
from legalqa.records import Conversation

KEPT = 32  # searches that are still known when the same question comes again: one is searched several times for one answer


@dataclass(frozen=True)
class Hit:
    """A passage found, ``score`` from 0 to 1: the probability that it bears on the question."""

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
    """``threshold``: probability that a question is one of law, under which nothing is found; ``near``: score from which a
    past answer is quoted; ``words``: fingerprint of how words are cut; ``model``: sha256 of the embedding model or "".
    """

    threshold: float
    near: float
    words: str
    model: str


class Knowledge:
    """Search and quotation over one folder. Safe to use from several threads."""

    def __init__(self, statutes: Statutes, answers: list[Passage], settings: Settings, evidence: Evidence) -> None:
        self.statutes = statutes
        self.settings = settings
        self.passages = [*map(passages.of_article, statutes.in_force()), *answers]
        self._place = {passage.id: place for place, passage in enumerate(self.passages)}
        self._answers = answers
        self._articles = len(self.passages) - len(answers)
        self._evidence = evidence
        places = range(self._articles, len(self.passages))
        self._asked = {words.bare(self.passages[place].title): place for place in reversed(places)}
        self._weighed = lru_cache(maxsize=KEPT)(self._weigh)

    @classmethod
    def build(
        cls,
        statutes: Statutes,
        conversations: Iterable[Conversation],
        threshold: float,
        near: float = 0.5,
        embedder: Embedder | None = None,
    ) -> "Knowledge":
        """Index the articles in force and the answers of ``conversations``; by words alone without an ``embedder``."""
        answers = passages.of_conversations(conversations, statutes)
        settings = Settings(threshold, near, words.fingerprint(), MODEL_SHA256 if embedder else "")
        return cls(statutes, answers, settings, Evidence.build(statutes.in_force(), answers, embedder))

    @property
    def searches(self) -> int:
        """How many questions were really searched for; the last ones are still known when they come again."""
        return self._weighed.cache_info().misses

    def by_words(self) -> "Knowledge":
        """The same collection, searched by words alone, for who can't wait: it finds less, in a tenth of the time."""
        other = copy(self)
        other._evidence = self._evidence.by_words()
        other._weighed = lru_cache(maxsize=KEPT)(other._weigh)
        return other

    def search(self, query: str, k: int = 5, kind: Kind | None = None) -> list[Hit]:
        """The ``k`` best passages, best first; of one ``kind`` when it is given; none when the query is not one of law.

        An article that the query names (民法典第1079条), and the past answer to the very same question, have score 1, whatever
        else the query is about.
        """
        scores = self._scores(query)
        if kind == "statute":
            scores[self._articles :] = 0
        elif kind == "answer":
            scores[: self._articles] = 0
        best = np.argsort(-scores, kind="stable")[:k]
        return [Hit(self.passages[place], float(scores[place])) for place in best if scores[place] > 0]

    def answer(self, question: str) -> KnowledgeAnswer | None:
        """A quotation: the past answer to nearly the same question, else the nearest article; None where nothing is found."""
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
        return self._weighed(query).copy()

    def _weigh(self, query: str) -> Vector:
        scores: Vector = np.zeros(len(self.passages), dtype=np.float32)
        if words.terms(query):
            found = self._evidence.scores(query)
            if found.law >= self.settings.threshold:
                scores = np.concatenate([found.articles, found.answers])
        for law, number in keys(query, self.statutes):
            article = self.statutes.article(law, number)
            if article is not None and article.name in self._place:
                scores[self._place[article.name]] = 1.0
        if (place := self._asked.get(words.bare(query))) is not None:
            scores[place] = 1.0
        return scores

    def save(self, folder: Path) -> None:
        """Write the whole folder; the same content gives the same bytes."""
        with written_aside(folder) as aside:
            self.statutes.save(aside / "statutes.jsonl")
            passages.save(aside / "answers.jsonl", self._answers)
            write_json(aside / "settings.json", asdict(self.settings))
            self._evidence.save(aside)

    @classmethod
    def load(cls, folder: Path, embedder: Embedder | None = None) -> "Knowledge":
        """Read what ``save`` wrote. ``embedder`` where one is open already; else it is opened if the folder needs it.

        Raises UserError when the folder is not whole, or its words were cut or its vectors computed otherwise than here.
        """
        try:
            settings = Settings(**read_json(folder / "settings.json"))
            _check(settings, folder)
            statutes = Statutes.load(folder / "statutes.jsonl")
            answers = passages.load(folder / "answers.jsonl")
            evidence = Evidence.load(folder, statutes.in_force(), answers, (embedder or Embedder()) if settings.model else None)
            return cls(statutes, answers, settings, evidence)
        except FileNotFoundError as error:
            missing = error.filename or str(folder)
            raise UserError(Problem(str(missing), "is missing from the knowledge base", fix="dvc repro knowledge")) from None


def _check(settings: Settings, folder: Path) -> None:
    fix = "build the index anew: dvc repro knowledge"
    problems = []
    if settings.words != words.fingerprint():
        found = "its words were cut by another version of rjieba or of this code"
        problems.append(Problem(f"{folder}/settings.json", found, f"cut {words.fingerprint()}", fix))
    if settings.model not in ("", MODEL_SHA256):
        problems.append(Problem(f"{folder}/settings.json", "its vectors are of another model", f"model {MODEL_SHA256}", fix))
    if problems:
        raise UserError(problems)
