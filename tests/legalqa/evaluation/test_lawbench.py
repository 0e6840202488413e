from pathlib import Path

import pytest

from legalqa.evaluation import lawbench
from legalqa.evaluation.lawbench import Answered, correction, prompt, tasks
from legalqa.evaluation.likeness import Likeness
from legalqa.files import write_json, write_text
from legalqa.problems import UserError

CORRECT = "纠正下面法律文书句子。句子：\n上诉证据真实。"


def _score(task: str, *pairs: tuple[str, str], asked: str = "") -> tuple[float, float]:
    answered = [Answered(asked, prediction, answer) for prediction, answer in pairs]
    result = correction(answered, Likeness({}, {})) if task == "2-1" else tasks()[task].score(answered)
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


def test_traditional_characters_are_read_as_simplified_ones() -> None:
    assert _score("2-1", ("上述證據真實。", "上述证据真实。"), asked=CORRECT) == (100.0, 0.0)


def test_a_prediction_ends_five_characters_after_the_answer() -> None:
    long = "上述证据真实。" + "很" * 40
    assert _score("2-1", (long, "上述证据真实。"), asked=CORRECT) == _score("2-1", (long[:12], "上述证据真实。"), asked=CORRECT)


def test_every_task_of_the_schema_is_known() -> None:
    from legalqa.params import BenchmarkParams

    known: set[str] = set(BenchmarkParams.model_fields["tasks"].annotation.__args__[0].__args__)  # type: ignore[union-attr]
    assert known == {*tasks(), "2-1"}


def test_a_predictions_file_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [{"role": "HUMAN", "prompt": "问"}]
    write_json(
        tmp_path / "2-4.json",
        {
            "0": {"origin_prompt": asked, "prediction": "[类别]侵权<eoa>", "refr": "侵权"},
            "1": {"origin_prompt": "问", "prediction": "", "refr": "侵权"},
        },
    )
    lawbench.main([tmp_path / "2-4.json"], None)
    assert "accuracy 50.00, abstained 50.00, 2 items" in capsys.readouterr().out


def test_what_is_no_predictions_file_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "3-8.json", {"0": {"prediction": "答"}})
    write_text(tmp_path / "1-1.json", "[")
    for name, said in (("3-8", "origin_prompt"), ("1-1", "can't be read"), ("3-6", "no such file")):
        with pytest.raises(UserError, match=said):
            lawbench.main([tmp_path / f"{name}.json"], None)
    with pytest.raises(UserError, match="2-1 needs --tables"):
        lawbench.main([tmp_path / "2-1.json", tmp_path / "9-9.json"], None)
