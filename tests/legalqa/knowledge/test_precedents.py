import numpy as np
import pytest

from legalqa.knowledge.passages import Passage
from legalqa.knowledge.precedents import Precedents
from legalqa.knowledge.statutes import Article
from tests.legalqa.knowledge.laws import CIVIL, LABOUR


def _article(law: str, number: str, heading: str) -> Article:
    return Article(law, number, f"第{number}条", "", "in_force", heading)


def _answer(*cites: tuple[str, str]) -> Passage:
    return Passage("", "answer", "", "", "", cites=cites)


ARTICLES = [_article(CIVIL, "1", "a"), _article(CIVIL, "2", "a"), _article(CIVIL, "3", "b"), _article(LABOUR, "1", "a")]
ANSWERS = [_answer((CIVIL, "1"), (CIVIL, "2")), _answer((CIVIL, "1"), (CIVIL, "99")), _answer()]


def test_article_is_as_near_as_the_nearest_question_that_leads_to_it() -> None:
    near = Precedents(ARTICLES, ANSWERS).articles(np.array([0.3, 0.5, 0.9], dtype=np.float32))
    assert near.tolist() == pytest.approx([0.5, 0.3, 0, 0])


def test_chapter_and_law_of_what_was_cited() -> None:
    chapters, laws = Precedents(ARTICLES, ANSWERS).chapters_and_laws(np.array([0.5, 0.2, 0.9], dtype=np.float32))
    # Not (neither the first nor the second answer bears on it): 1 - 0.5 * 0.8. Two articles of one chapter count once.
    assert chapters.tolist() == pytest.approx([0.6, 0.6, 0, 0])
    assert laws.tolist() == pytest.approx([0.6, 0.6, 0.6, 0])


def test_nothing_is_certain_and_nothing_comes_of_nothing() -> None:
    assert Precedents(ARTICLES, ANSWERS).chapters_and_laws(np.ones(3, dtype=np.float32)).max() < 1
    bare = Precedents(ARTICLES, [])
    none = np.zeros(0, dtype=np.float32)
    assert not bare.articles(none).any()
    assert not bare.chapters_and_laws(none).any()
