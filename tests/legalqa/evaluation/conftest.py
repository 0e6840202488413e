"""A handful of statutes, and predictions over them."""

import pytest

from legalqa.evaluation.predictions import Item, Prediction
from legalqa.evaluation.similarity import Similarity
from legalqa.knowledge.embedding import Embedder
from legalqa.knowledge.statutes import Article, Statutes
from legalqa.records import Message

LAW, OLD = "中华人民共和国民法典", "中华人民共和国婚姻法"
DIVORCE = "夫妻一方要求离婚的，可以直接向人民法院提起离婚诉讼。感情确已破裂，调解无效的，应当准予离婚。"
REFERENCE = "可以起诉离婚。《中华人民共和国民法典》第一千零七十九条规定，感情确已破裂，调解无效的，应当准予离婚。"


@pytest.fixture(scope="session")
def similarity() -> Similarity:
    """The packaged model; loading it takes a while."""
    return Similarity(Embedder())


@pytest.fixture
def statutes() -> Statutes:
    return Statutes(
        [
            Article(LAW, "1079", "第一千零七十九条", DIVORCE, "in_force"),
            Article(LAW, "1087", "第一千零八十七条", "离婚时，夫妻的共同财产由双方协议处理。", "in_force"),
            Article(OLD, "32", "第三十二条", "感情确已破裂，调解无效，应准予离婚。", "repealed"),
        ]
    )


def item(question: str = "怎么离婚？", *references: str, area: str = "") -> Item:
    prompt = (Message(role="user", content=question),)
    return Item(key=question, prompt=prompt, references=references or (REFERENCE,), area=area)


def answer(text: str, question: str = "怎么离婚？", arm: str = "base", **more: object) -> Prediction:
    return Prediction.model_validate(
        {"arm": arm, "key": question, "question": question, "references": (REFERENCE,), "text": text} | more
    )
