from legalqa.knowledge import words


def test_words_and_pairs_without_what_every_question_has() -> None:
    found = words.terms("请问公司拖欠工资3个月怎么办？")
    assert {"公司", "拖欠", "工资", "3"} <= set(found)
    assert not {"请问", "怎么办", "？"} & set(found)


def test_spelling_of_width_and_case_does_not_matter() -> None:
    assert words.terms("ＡＰＰ退款１００元") == words.terms("app退款100元")


def test_nothing_in_nothing_out() -> None:
    assert words.terms("") == words.terms("？！ 的 了") == []
