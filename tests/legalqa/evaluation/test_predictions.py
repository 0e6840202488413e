import json
from pathlib import Path

from legalqa.evaluation import predictions
from legalqa.records import Conversation, Message
from tests.legalqa.evaluation.conftest import answer, item


def _conversation(question: str, reply: str, *references: str) -> Conversation:
    turns = [Message(role="user", content=question), Message(role="assistant", content=reply)]
    return Conversation(conversations=turns, references=list(references))


def test_replies_to_one_question_become_its_references() -> None:
    found = predictions.items([_conversation("问", "一", "三"), _conversation("另", "四"), _conversation("问", "二", "一")])
    assert [(item.question, item.references) for item in found] == [("问", ("一", "三", "二")), ("另", ("四",))]


def test_one_object_a_line_unescaped(tmp_path: Path) -> None:
    predictions.write(tmp_path / "p.jsonl", {"base": [answer("甲\n乙")], "tuned": [answer("丙", arm="tuned")]})
    lines = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["甲\n乙", "丙"]
    assert "怎么离婚" in lines[0]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    of = {"base": [answer("甲\u2028乙", finish_reason="length"), answer("")], "tuned": [answer("丙", arm="tuned")]}
    predictions.write(tmp_path / "p.jsonl", of)
    assert predictions.read(tmp_path / "p.jsonl") == [*of["base"], *of["tuned"]]


def test_a_part_of_the_questions_is_spread_over_the_file() -> None:
    asked = [item(f"第{number}问？") for number in range(10)]
    assert [one.key for one in predictions.spread(asked, 3)] == ["第0问？", "第3问？", "第6问？"]
    assert predictions.spread(asked, 10) == predictions.spread(asked, 99) == predictions.spread(asked, None) == asked
    assert len({one.key for one in predictions.spread(asked, 7)}) == 7
