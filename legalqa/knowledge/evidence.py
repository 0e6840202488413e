"""What speaks for each passage, given a question: words, the law's words for everyday ones, meaning, and what lawyers cited
when nearly the same was asked. Weighed by legalqa.knowledge.ranking.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from legalqa.knowledge import vectors, words
from legalqa.knowledge.embedding import Embedder
from legalqa.knowledge.index import TermIndex
from legalqa.knowledge.lexicon import expansion
from legalqa.knowledge.meaning import MeaningIndex, Vector, centred
from legalqa.knowledge.passages import Passage
from legalqa.knowledge.ranking import WITH_MEANING, WORDS_ONLY
from legalqa.knowledge.statutes import Article

# A past answer is found by its question first, by its own words second.
QUESTION, REPLY = 0.75, 0.25


@dataclass(frozen=True)
class _Meaning:
    embedder: Embedder
    centre: Vector  # mean vector of questions
    articles: MeaningIndex
    questions: MeaningIndex


class Evidence:
    """The indexes over articles and past answers."""

    def __init__(
        self,
        articles: Sequence[Article],
        answers: Sequence[Passage],
        terms: dict[str, TermIndex],
        meaning: _Meaning | None,
    ) -> None:
        self._terms = terms
        self._meaning = meaning
        self._weights = WITH_MEANING if meaning else WORDS_ONLY
        self._size = len(articles)
        place = {(article.law, article.number): at for at, article in enumerate(articles)}
        pairs = [(past, place[key]) for past, answer in enumerate(answers) for key in answer.cites if key in place]
        self._citing, self._cited = np.array(pairs, dtype=np.int64).reshape(-1, 2).T

    @classmethod
    def build(cls, articles: Sequence[Article], answers: Sequence[Passage], embedder: Embedder | None) -> "Evidence":
        """Index everything; vectors are computed where they are not known yet."""
        terms = {"articles": TermIndex.build(map(words.terms, map(vectors.article_text, articles)))}
        if answers:
            terms["questions"] = TermIndex.build((words.terms(answer.title) for answer in answers), k1=0.3)
            terms["replies"] = TermIndex.build(words.terms(answer.text) for answer in answers)
        meaning = None
        if embedder:
            centre = vectors.centre_of_questions()
            asked = vectors.of_questions([answer.title for answer in answers], embedder)
            stored = vectors.of_articles(articles, embedder)
            meaning = _Meaning(embedder, centre, MeaningIndex(stored), MeaningIndex(asked, centre))
        return cls(articles, answers, terms, meaning)

    def scores(self, question: str) -> tuple[Vector, Vector]:
        """Probabilities of each article and of each past answer."""
        article, answer = self.features(question)
        w = self._weights
        of_article = np.array([w.words, w.widened, w.past_words, w.past_meaning, w.meaning], dtype=np.float32)
        of_answer = np.array([w.answer_words, w.answer_meaning], dtype=np.float32)
        return w.articles(of_article @ article), w.answers(of_answer @ answer)

    def features(self, question: str, but: int | None = None) -> tuple[Vector, Vector]:
        """[5, articles] and [2, answers] in the order of ``Weights``. ``but`` leaves one past answer out (for fitting)."""
        terms = words.terms(question)
        past_words, past_meaning = np.zeros((2, 0), dtype=np.float32)
        if "questions" in self._terms:
            past_words = QUESTION * self._terms["questions"].shares(terms) + REPLY * self._terms["replies"].shares(terms)
            past_meaning = np.zeros_like(past_words)
        meaning = np.zeros(self._size, dtype=np.float32)
        if self._meaning:
            vector = centred(self._meaning.embedder.questions([question])[0], self._meaning.centre)
            meaning = self._meaning.articles.cosines(vector)
            past_meaning = self._meaning.questions.cosines(vector)
        if but is not None:
            past_words[but] = past_meaning[but] = 0
        shares, widened = self._terms["articles"].widened(terms, expansion(question))
        article = np.stack([shares, widened, self._through(past_words), self._through(past_meaning), meaning])
        return article, np.stack([past_words, past_meaning])

    def _through(self, nearness: Vector) -> Vector:
        """For each article the nearness of the nearest past question whose answer cites it."""
        best = np.zeros(self._size, dtype=np.float32)
        np.maximum.at(best, self._cited, nearness[self._citing])
        return best

    def save(self, folder: Path) -> None:
        """Write the indexes into ``folder``."""
        for name, index in self._terms.items():
            index.save(folder / name)
        if self._meaning:
            np.save(folder / "centre.npy", self._meaning.centre)
            self._meaning.articles.save(folder / "articles.npy")
            self._meaning.questions.save(folder / "questions.npy")

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
            stored = MeaningIndex.load(folder / "articles.npy")
            meaning = _Meaning(embedder, centre, stored, MeaningIndex.load(folder / "questions.npy", centre))
        return cls(articles, answers, terms, meaning)
