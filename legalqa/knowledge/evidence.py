"""What speaks for each passage, given a question: words, the law's words for everyday ones, meaning, what lawyers cited
when nearly the same was asked, and which laws are asked about at all. Weighed by legalqa.knowledge.ranking.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from legalqa.knowledge import vectors, words
from legalqa.knowledge.embedding import Embedder
from legalqa.knowledge.everyday import tiers
from legalqa.knowledge.index import TermIndex
from legalqa.knowledge.lexicon import expansion
from legalqa.knowledge.meaning import MeaningIndex, Vector
from legalqa.knowledge.passages import Passage
from legalqa.knowledge.precedents import Precedents
from legalqa.knowledge.ranking import WITH_MEANING, WORDS_ONLY, axis_of_law, probabilities
from legalqa.knowledge.statutes import Article

# A past answer is found by its question first, by its own words second.
QUESTION, REPLY = 0.75, 0.25


@dataclass(frozen=True)
class Meaning:
    """Vectors of articles and of past questions. ``centre``: the mean vector of questions; ``turn``: towards the law."""

    embedder: Embedder
    centre: Vector
    turn: Vector
    articles: MeaningIndex
    questions: MeaningIndex


@dataclass(frozen=True)
class Features:
    """Not weighed yet, in the order of ``ranking.Weights``: of articles [9, n], past answers [2, m], the question [3, 1]."""

    article: Vector
    answer: Vector
    law: Vector


@dataclass(frozen=True)
class Scores:
    """Probabilities: that each article bears on the question, that each past answer is worth quoting, that it is one of law."""

    articles: Vector
    answers: Vector
    law: float


class Evidence:
    """The indexes over articles and past answers."""

    def __init__(
        self,
        articles: Sequence[Article],
        answers: Sequence[Passage],
        terms: dict[str, TermIndex],
        meaning: Meaning | None,
    ) -> None:
        self.meaning = meaning
        self._terms = terms
        self.weights = WITH_MEANING if meaning else WORDS_ONLY
        self._size = len(articles)
        self._precedents = Precedents(articles, answers)
        self._tiers = tiers(articles)
        self._axis = axis_of_law()

    @classmethod
    def build(
        cls, articles: Sequence[Article], answers: Sequence[Passage], embedder: Embedder | None, turn: Vector | None = None
    ) -> "Evidence":
        """Index everything; vectors are computed where they are not known yet. ``turn`` replaces the shipped one, to fit."""
        terms = {"articles": TermIndex.build(map(words.terms, map(vectors.article_text, articles)))}
        if answers:
            terms["questions"] = TermIndex.build((words.terms(answer.title) for answer in answers), k1=0.3)
            terms["replies"] = TermIndex.build(words.terms(answer.text) for answer in answers)
        meaning = None
        if embedder:
            centre = vectors.centre_of_questions()
            turn = vectors.turn_of_questions() if turn is None else turn
            asked = vectors.of_questions([answer.title for answer in answers], embedder)
            stored = vectors.of_articles(articles, embedder)
            towards_law = MeaningIndex(stored, centre, turn=turn)
            meaning = Meaning(embedder, centre, turn, towards_law, MeaningIndex(asked, centre, centre))
        return cls(articles, answers, terms, meaning)

    def by_words(self) -> "Evidence":
        """The same indexes without the meaning: worse, in a tenth of the time."""
        other = copy(self)
        other.meaning, other.weights = None, WORDS_ONLY
        return other

    def scores(self, question: str) -> Scores:
        """What is probable, given everything."""
        found = self.features(question)
        return Scores(
            probabilities(self.weights.article, found.article),
            probabilities(self.weights.quoted, found.answer),
            float(probabilities(self.weights.law, found.law)[0]),
        )

    def features(self, question: str, but: int | None = None) -> Features:
        """What speaks for each passage. ``but`` leaves one past answer out (for fitting)."""
        terms = words.terms(question)
        past_words, past_meaning = np.zeros((2, 0), dtype=np.float32)
        if "questions" in self._terms:
            past_words = QUESTION * self._terms["questions"].shares(terms) + REPLY * self._terms["replies"].shares(terms)
            past_meaning = np.zeros_like(past_words)
        meaning, nearest, along = np.zeros(self._size, dtype=np.float32), 0.0, 0.0
        if self.meaning:
            vector = self.meaning.embedder.questions([question])[0]
            meaning, nearest = self.meaning.articles.nearness(vector), self.meaning.articles.nearest(vector)
            past_meaning = self.meaning.questions.nearness(vector)
            along = float(vector @ self._axis)
        if but is not None:
            past_words[but] = past_meaning[but] = 0
        shares, widened = self._terms["articles"].widened(terms, expansion(question))
        answer = np.stack([past_words, past_meaning])
        own = np.stack([shares, widened, *map(self._precedents.articles, answer), meaning])
        around = np.concatenate([self._precedents.chapters_and_laws(probabilities(self.weights.answer, answer)), self._tiers])
        around = around * (own.max(axis=0) > 0)  # alone it says nothing of the one article
        best_words = (shares + widened).max(initial=0) * len(set(terms)) ** 0.5
        law = np.array([[nearest], [along], [best_words]], dtype=np.float32)
        return Features(np.concatenate([own, around]), answer, law)

    def save(self, folder: Path) -> None:
        """Write the indexes into ``folder``."""
        for name, index in self._terms.items():
            index.save(folder / name)
        if self.meaning:
            np.save(folder / "centre.npy", self.meaning.centre)
            np.save(folder / "turn.npy", self.meaning.turn)
            self.meaning.articles.save(folder / "articles.npy")
            self.meaning.questions.save(folder / "questions.npy")

    @classmethod
    def load(
        cls, folder: Path, articles: Sequence[Article], answers: Sequence[Passage], embedder: Embedder | None
    ) -> "Evidence":
        """Read what ``save`` wrote."""
        names = ("articles", "questions", "replies") if answers else ("articles",)
        terms = {name: TermIndex.load(folder / name) for name in names}
        meaning = None
        if embedder:
            centre: Vector = np.load(folder / "centre.npy")
            turn: Vector = np.load(folder / "turn.npy")
            stored = MeaningIndex.load(folder / "articles.npy", centre, turn=turn)
            past = MeaningIndex.load(folder / "questions.npy", centre, centre)
            meaning = Meaning(embedder, centre, turn, stored, past)
        return cls(articles, answers, terms, meaning)
