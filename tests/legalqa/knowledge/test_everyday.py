from legalqa.knowledge import everyday
from legalqa.knowledge.everyday import tiers
from legalqa.knowledge.statutes import Statutes
from tests.legalqa.knowledge.laws import CIVIL, article


def test_laws_by_how_often_they_are_asked_about() -> None:
    chosen = [article(CIVIL, "1", ""), article("中华人民共和国旅游法", "1", ""), article("中华人民共和国预备役人员法", "1", "")]
    assert tiers(chosen).T.tolist() == [[1, 1], [0, 1], [0, 0]]
    assert tiers([]).shape == (2, 0)


def test_every_law_named_is_in_force() -> None:
    known = {article.law.removeprefix("中华人民共和国") for article in Statutes.packaged().in_force()}
    named = [*everyday._FIRST.split(), *everyday._SECOND.split()]
    assert set(named) <= known
    assert len(named) == len(set(named))
