from legalqa.knowledge.lexicon import expansion


def test_words_of_the_law_for_everyday_words() -> None:
    assert {"劳动", "报酬"} & set(expansion("老板不发工资")) or "劳动报酬" in expansion("老板不发工资")
    assert "出租人" in expansion("房东要涨房租")


def test_words_already_there_are_left_out_and_none_stands_twice() -> None:
    found = expansion("出租人和房东，二房东，老婆和老公")
    assert "出租人" not in found
    assert len(found) == len(set(found))


def test_nothing_to_add() -> None:
    assert expansion("今天天气怎么样") == []
