"""LawBench (Fei et al., 2023): its prompts, and its scoring of the tasks 1-1, 1-2, 2-1, 2-4, 3-2, 3-6 and 3-8, zero-shot.

A task file is a list of {"instruction", "question", "answer"}; a predictions file {"0": {"origin_prompt", "prediction",
"refr"}, ...}. Scores are percent. Given the published predictions they come out as published, to the second decimal:
`python -m legalqa.evaluation.lawbench FILE...` scores predictions files, named after their task (2-1.json).
"""

import argparse
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from legalqa.evaluation.edits import counts, edits, f_beta
from legalqa.evaluation.likeness import Likeness
from legalqa.files import read_json
from legalqa.problems import Problem, UserError
from legalqa.stage import stage

LETTERS = ("A", "B", "C", "D")
KINDS = (
    *("婚姻家庭", "劳动纠纷", "交通事故", "债权债务", "刑事辩护", "合同纠纷", "房产纠纷", "侵权", "公司法", "医疗纠纷"),
    *("拆迁安置", "行政诉讼", "建设工程", "知识产权", "综合咨询", "人身损害", "涉外法律", "海事海商", "消费权益", "抵押担保"),
)
NOTHING = "无内容"  # stands for an empty prediction


@dataclass(frozen=True)
class Answered:
    """One example with what was predicted."""

    prompt: str
    prediction: str
    answer: str


@dataclass(frozen=True)
class Result:
    """``items``: the score of each example, 0 to 100; ``abstained``: share, in percent, that named no option at all."""

    score: float
    items: tuple[float, ...]
    abstained: float = 0.0


@dataclass(frozen=True)
class Task:
    """What a task asks for and how it is scored."""

    chinese: str
    metric: str
    score: Callable[[Sequence[Answered]], Result]


def prompt(example: dict[str, str]) -> str:
    """The official zero-shot prompt."""
    return f"{example['instruction']}\n{example['question']}"


def rouge(answered: Sequence[Answered], strip: str = "") -> Result:
    """Mean ROUGE-L F of rouge-chinese over jieba words."""
    import jieba
    from rouge_chinese import Rouge

    def words(text: str) -> str:
        return " ".join(jieba.cut(text))

    predictions = [words(one.prediction) for one in answered]
    found = Rouge().get_scores(
        [text if text.strip() else NOTHING for text in predictions], [words(one.answer.replace(strip, "")) for one in answered]
    )
    return _mean([100 * each["rouge-l"]["f"] for each in found])


def choice(answered: Sequence[Answered], options: Sequence[str], answer_at: int | None = None) -> Result:
    """Right when the answer is the only option that the prediction names. ``answer_at``: where its letter stands."""
    right, named = [], []
    for one in answered:
        found = {option for option in options if option in one.prediction}
        right.append(100.0 * (found == {one.answer if answer_at is None else one.answer[answer_at]}))
        named.append(bool(found))
    return Result(statistics.fmean(right), tuple(right), 100 - 100 * statistics.fmean(named))


def correction(answered: Sequence[Answered], likeness: Likeness) -> Result:
    """F0.5 over the edits of characters, summed over all sentences; predictions end five characters after the answer.

    Predictions and answers, but not the sentence to correct, are read in simplified characters.
    """
    from opencc import OpenCC

    simplified = OpenCC("t2s").convert
    found = []
    for one in answered:
        original = _flat(one.prompt[one.prompt.index("句子：\n") + 4 :].split("\n")[0])
        predicted = simplified(_flat(one.prediction)[: len(one.answer) + 5] or NOTHING)
        answer = simplified(_flat(one.answer))
        found.append(counts(edits(original, predicted, likeness.cost), edits(original, answer, likeness.cost)))
    items = tuple(100 * f_beta(*count) for count in found)
    return Result(100 * f_beta(*(sum(column) for column in zip(*found, strict=True))), items)


def tasks(tables: Path | None = None) -> dict[str, Task]:
    """Every task by its number; 2-1 only with ``tables``, the folder of LawBench's scorer that `Likeness` reads."""
    found = {
        "1-1": Task("法条背诵", "ROUGE-L", partial(rouge, strip="答案:")),
        "1-2": Task("知识问答", "accuracy", partial(choice, options=LETTERS, answer_at=5)),
        "2-4": Task("咨询分类", "accuracy", partial(choice, options=KINDS)),
        "3-2": Task("场景法条", "ROUGE-L", rouge),
        "3-6": Task("案例分析", "accuracy", partial(choice, options=LETTERS, answer_at=5)),
        "3-8": Task("法律咨询", "ROUGE-L", rouge),
    }
    if tables is not None:
        found["2-1"] = Task("文书校对", "F0.5", partial(correction, likeness=Likeness.load(tables)))
    return found


def read(path: Path) -> list[Answered]:
    """A predictions file. Raises UserError when it is not one."""
    try:
        examples: dict[str, Any] = read_json(path)
        return [
            Answered(_asked(example["origin_prompt"]), example["prediction"], example["refr"]) for example in examples.values()
        ]
    except FileNotFoundError:
        raise UserError(Problem(str(path), "there is no such file", "predictions in LawBench's format")) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        expected = '{"0": {"origin_prompt": ..., "prediction": ..., "refr": ...}, ...}'
        raise UserError(Problem(str(path), f"can't be read: {error!r}", expected)) from None


def main(paths: Sequence[Path], tables: Path | None) -> None:
    """Print the score of each predictions file."""
    known = tasks(tables)
    if strange := [path for path in paths if path.stem not in known]:
        fix = "name the file after its task; 2-1 needs --tables"
        raise UserError(
            [Problem(str(path), f"task {path.stem}", f"one of {', '.join(sorted(known))}", fix) for path in strange]
        )
    for path in paths:
        result = known[path.stem].score(read(path))
        print(
            f"{path}: {known[path.stem].metric} {result.score:.2f}, abstained {result.abstained:.2f}, {len(result.items)} items"
        )


def _asked(prompt: Any) -> str:
    """Published files hold a text, or chat messages, whose first is the question."""
    return str(prompt[0]["prompt"]) if isinstance(prompt, list) else str(prompt)


def _mean(items: Sequence[float]) -> Result:
    return Result(statistics.fmean(items), tuple(items))


def _flat(text: str) -> str:
    return re.sub(r"\n|\t", "", text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m legalqa.evaluation.lawbench", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--tables", type=Path, help="evaluation/utils/data of LawBench's repository, for task 2-1")
    arguments = parser.parse_args()
    with stage("lawbench"):
        main(arguments.files, arguments.tables)
