import pytest

from legalqa.evaluation.choices import chosen, exact, prompt
from legalqa.evaluation.lawbench import Answered

ROW = {"input": "宪法颁布于何时？", "A": "1949年", "B": "1954年", "C": "1978年", "D": "1982年", "multichoice": "False"}


def test_the_official_prompt_without_examples() -> None:
    asked = prompt(ROW)
    assert asked.startswith("以下是一道单项选择题，")
    assert asked.endswith("问题：宪法颁布于何时？\nA. 1949年\nB. 1954年\nC. 1978年\nD. 1982年\n答案：")
    assert prompt(ROW | {"multichoice": "TRUE"}).startswith("以下是一道多项选择题，")


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("A、C", "AC"),
        ("我不知道", ""),
        ("A公司应当承担责任，因此答案是B、D。", "BD"),
        ("根据规定，正确的选项应该是C", "C"),
        ("A. 群众不能理解的判决，很难具有公信力", "A"),
        ("B．甲说得对\nD．丁说得对，其余都不对", "BD"),
        ("根据民法典，甲和乙之间的合同有效，故选：C", "C"),
        ("综合以上分析可以得出结论，A选项正确", "A"),
        ("这道题的几个说法都没有说到要点，无从判断", ""),
    ],
)
def test_letters_are_read_as_the_official_scorer_reads_them(text: str, letters: str) -> None:
    assert chosen(text) == set(letters)


def test_right_is_all_letters_and_no_other() -> None:
    answered = [Answered("", text, "AC") for text in ("AC", "CA", "A", "ABC", "不知道")]
    result = exact(answered)
    assert (result.score, result.items, result.abstained) == (40.0, (100.0, 100.0, 0.0, 0.0, 0.0), 20.0)
