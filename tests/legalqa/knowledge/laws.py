"""A handful of laws for tests: real names, invented article texts."""

from legalqa.knowledge.numerals import article_label
from legalqa.knowledge.statutes import Article, Statutes

CIVIL, LABOUR, CRIMINAL, OLD = (f"中华人民共和国{name}" for name in ("民法典", "劳动合同法", "刑法", "环境保护法"))


def article(law: str, number: str, text: str = "条文内容。", status: str = "in_force") -> Article:
    return Article(law, number, article_label(number), text, status)  # type: ignore[arg-type]


def small_statutes() -> Statutes:
    return Statutes(
        [article(CIVIL, str(number)) for number in (143, 188, 680, 1043, 1062, 1079, 1080, 1127, 1165)]
        + [article(CIVIL, "1260", "本法自2021年1月1日起施行。《中华人民共和国婚姻法》、《中华人民共和国合同法》同时废止。")]
        + [article(LABOUR, str(number)) for number in (10, 38, 46, 47, 82, 87)]
        + [article(CRIMINAL, number, status="amended") for number in ("133", "133-1", "264")]
        + [article(OLD, "1", status="repealed")]
    )
