"""The split stage: every line once, untouched; leaks and small files stop it."""

from pathlib import Path

import pytest

import stages.split
from legalqa.files import read_json
from legalqa.params import SplitParams, load_params
from legalqa.problems import UserError
from legalqa.records import Conversation, Message, write_jsonl

SHIPPED = load_params(Path(__file__).resolve().parents[2] / "params.yaml").split
TOPICS = (
    "押金不退",
    "工资拖欠",
    "离婚财产",
    "遗产继承",
    "交通赔偿",
    "网购退货",
    "邻居漏水",
    "借款不还",
    "商标侵权",
    "股权转让",
)


def _write(questions: list[str], groups: list[str] | None = None) -> None:
    write_jsonl(
        "data/conversations.jsonl",
        [
            Conversation(
                conversations=[Message(role="user", content=question), Message(role="assistant", content="可以起诉。")],
                records=[number],
                group=(groups or [f"{n:04d}" for n in range(len(questions))])[number - 1],
            )
            for number, question in enumerate(questions, start=1)
        ],
    )


def _questions() -> list[str]:
    return [f"{first}和{second}同时出现，先处理哪一个" for first in TOPICS for second in TOPICS if first < second]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _lines() -> dict[str, list[str]]:
    return {
        name: Path(f"data/splits/{name}.jsonl").read_text(encoding="utf-8").splitlines() for name in ("train", "dev", "test")
    }


def _params(**changes: object) -> SplitParams:
    return SplitParams.model_validate(SHIPPED.model_dump() | changes)


def test_every_line_is_in_one_split_as_it_was() -> None:
    _write(_questions())
    stages.split.main(_params(leak_threshold=1.0))
    split = _lines()
    source = Path("data/conversations.jsonl").read_text(encoding="utf-8").splitlines()
    assert sorted(line for lines in split.values() for line in lines) == sorted(source)
    assert [len(split[name]) for name in ("train", "dev", "test")] == [36, 5, 4]
    assert read_json("reports/split/leakage.json")["train"] == {"conversations": 36, "groups": 36}


def test_order_of_the_lines_moves_no_question() -> None:
    _write(_questions())
    stages.split.main(_params(leak_threshold=1.0))
    before = {line: name for name, lines in _lines().items() for line in lines}
    source = Path("data/conversations.jsonl")
    source.write_text("\n".join(reversed(source.read_text(encoding="utf-8").splitlines())), encoding="utf-8")
    stages.split.main(_params(leak_threshold=1.0))
    assert {line: name for name, lines in _lines().items() for line in lines} == before


def test_a_group_stays_together() -> None:
    _write(_questions(), groups=[f"{number // 5:04d}" for number in range(45)])
    stages.split.main(_params(leak_threshold=1.0))
    for lines in _lines().values():
        assert len(lines) % 5 == 0


def test_a_leak_stops_the_stage_with_examples_and_leaves_the_old_splits() -> None:
    _write(_questions())
    stages.split.main(_params(leak_threshold=1.0))
    before = _lines()
    _write([*_questions()[:-1], *(f"{text}呢" for text in _questions()[:20])])
    with pytest.raises(UserError, match="are alike"):
        stages.split.main(_params(leak_threshold=0.9))
    assert _lines() == before


def test_a_benchmark_question_in_the_data_stops_the_stage(tmp_path: Path) -> None:
    _write(_questions())
    Path("exam.json").write_text(f'[{{"question": "{_questions()[3]}？"}}]', encoding="utf-8")
    with pytest.raises(UserError, match=r"benchmark exam\.json: 1 of its questions"):
        stages.split.main(_params(leak_threshold=1.0, benchmarks=["exam.json"]))


def test_hand_made_conversations_need_no_group_and_bad_ones_are_named() -> None:
    _write(_questions(), groups=[""] * 45)
    stages.split.main(_params(leak_threshold=1.0))
    assert sum(map(len, _lines().values())) == 45
    with Path("data/conversations.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"messages": []}\n')
    with pytest.raises(UserError, match="line 46"):
        stages.split.main(_params(leak_threshold=1.0))


def test_too_few_questions_are_refused() -> None:
    _write(_questions()[:2])
    with pytest.raises(UserError, match="2 question group"):
        stages.split.main(SHIPPED)
