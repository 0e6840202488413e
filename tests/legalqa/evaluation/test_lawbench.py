import pytest

from legalqa.evaluation.lawbench import TASKS, Answered, prompt

CORRECT = "纠正下面法律文书句子。句子：\n上诉证据真实。"


def _score(task: str, *pairs: tuple[str, str], asked: str = "") -> tuple[float, float]:
    result = TASKS[task].score([Answered(asked, prediction, answer) for prediction, answer in pairs])
    return round(result.score, 2), round(result.abstained, 2)


def test_the_official_prompt() -> None:
    assert prompt({"instruction": "回答以下问题:", "question": "问", "answer": "答"}) == "回答以下问题:\n问"


def test_a_choice_is_right_only_when_no_other_is_named() -> None:
    answer = "正确答案：B。"
    assert _score("1-2", ("[正确答案]B<eoa>", answer), ("A或B", answer), ("不知道", answer), ("BB", answer)) == (50.0, 25.0)
    assert _score("3-6", ("CAB", "正确答案:C。"), ("C", "正确答案:C。")) == (50.0, 0.0)


def test_kinds_of_consultation() -> None:
    pairs = [("[类别]婚姻家庭<eoa>", "婚姻家庭"), ("婚姻家庭、侵权", "婚姻家庭"), ("离婚", "婚姻家庭"), ("侵权", "房产纠纷")]
    assert _score("2-4", *pairs) == (25.0, 25.0)


def test_rouge_over_jieba_words() -> None:
    assert _score("3-8", ("当事人应当承担违约责任", "当事人应当承担违约责任"))[0] == 100.0
    assert _score("3-8", ("", "当事人应当承担违约责任"))[0] == 0.0
    assert _score("1-1", ("合同依法成立", "答案:合同依法成立"))[0] == 100.0
    assert _score("3-2", ("合同依法成立", "答案:合同依法成立"))[0] < 100.0


def test_corrections_are_counted_over_all_sentences() -> None:
    right, wrong = ("上述证据真实。", "上述证据真实。"), ("上诉证据真的。", "上述证据真实。")
    assert _score("2-1", right, asked=CORRECT) == (100.0, 0.0)
    assert _score("2-1", wrong, asked=CORRECT) == (0.0, 0.0)
    assert _score("2-1", right, wrong, asked=CORRECT)[0] == pytest.approx(50.0)


def test_a_prediction_ends_five_characters_after_the_answer() -> None:
    long = "上述证据真实。" + "很" * 40
    assert _score("2-1", (long, "上述证据真实。"), asked=CORRECT) == _score("2-1", (long[:12], "上述证据真实。"), asked=CORRECT)


def test_every_task_of_the_schema_is_known() -> None:
    from legalqa.params import BenchmarkParams

    assert set(BenchmarkParams.model_fields["tasks"].annotation.__args__[0].__args__) == set(TASKS)  # type: ignore[union-attr]
