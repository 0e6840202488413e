from legalqa.grounding import INSTRUCTION, grounded, nearest
from legalqa.knowledge.retrieval import Knowledge
from legalqa.knowledge.statutes import Article, Statutes
from legalqa.records import Message

LAW = "中华人民共和国民法典"
STATUTES = Statutes(
    [
        Article(LAW, "1079", "第一千零七十九条", "夫妻感情确已破裂，调解无效的，应当准予离婚。", "in_force"),
        Article(LAW, "1087", "第一千零八十七条", "离婚时，夫妻的共同财产由双方协议处理。", "in_force"),
        Article(LAW, "577", "第五百七十七条", "当事人一方不履行合同义务的，应当承担违约责任。", "in_force"),
    ]
)


def test_the_nearest_passages_that_fit_come_first() -> None:
    knowledge = Knowledge.build(STATUTES, [], threshold=0.0)
    found = nearest(knowledge, "感情破裂怎么离婚", 2, 400, len)
    assert found[0].number == "1079"
    assert len(found) == 2
    assert nearest(knowledge, "感情破裂怎么离婚", 2, 10, len) == []


def test_only_the_last_question_gets_passages() -> None:
    turns = (
        Message(role="user", content="您好"),
        Message(role="assistant", content="请讲"),
        Message(role="user", content="怎么离婚？"),
    )
    given = grounded(turns, [("第一条", "甲"), ("第二条", "乙")])
    assert given[:2] == turns[:2]
    assert given[2].content == f"参考资料：\n1. 第一条：甲\n2. 第二条：乙\n\n问题：怎么离婚？\n\n{INSTRUCTION}"
    assert grounded(turns, []) == turns
