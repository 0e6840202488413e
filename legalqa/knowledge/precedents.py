"""From past answers to the law they rest on: the articles that they cite, and the chapters and laws that these stand in.

A question much like one that was answered turns on the same article; one that is only akin to it, on the same chapter or law.
So this grows with the user's own answers.
"""

from collections.abc import Sequence

import numpy as np

from legalqa.knowledge.meaning import Vector
from legalqa.knowledge.passages import Passage
from legalqa.knowledge.statutes import Article

_NEAR = 30  # past answers that count for chapters and laws
_SUREST = 0.98  # no single answer settles it


class Precedents:
    """Which of n articles, their chapters and laws the m past answers cite."""

    def __init__(self, articles: Sequence[Article], answers: Sequence[Passage]) -> None:
        place = {(article.law, article.number): at for at, article in enumerate(articles)}
        self._cites = [[place[key] for key in answer.cites if key in place] for answer in answers]
        pairs = [(past, at) for past, places in enumerate(self._cites) for at in places]
        self._citing, self._cited = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        self._size = len(articles)
        groups = ([(article.law, article.heading) for article in articles], [(article.law, "") for article in articles])
        self._groups = [np.unique([" ".join(key) for key in keys], return_inverse=True)[1] for keys in groups]

    def articles(self, nearness: Vector) -> Vector:
        """For each article, [n], the nearness of the nearest past question whose answer cites it."""
        best = np.zeros(self._size, dtype=np.float32)
        np.maximum.at(best, self._cited, nearness[self._citing])
        return best

    def chapters_and_laws(self, likely: Vector) -> Vector:
        """For each article, [2, n], the probability that a past answer which bears on the question cites its chapter; its law.

        ``likely`` [m]: the probability that each past answer bears on the question.
        """
        near = np.argsort(-likely, kind="stable")[:_NEAR]
        against = np.zeros((2, self._size), dtype=np.float32)  # logarithms of the probability that none does
        for row, group in zip(against, self._groups, strict=True):
            for past in near:
                for one in {group[at] for at in self._cites[past]}:
                    row[one] += np.log1p(-min(likely[past], _SUREST))
            row[:] = row[group]
        known: Vector = 1 - np.exp(against)
        return known
