"""Every bad line of a JSONL file is named with its reason, in one go."""

from pathlib import Path

import pytest

from legalqa.problems import UserError
from legalqa.records import Conversation, Message, read_jsonl, write_jsonl


def _conversation(question: str = "问", answer: str = "答") -> Conversation:
    return Conversation(conversations=[Message(role="user", content=question), Message(role="assistant", content=answer)])


def test_round_trip_keeps_inner_line_breaks(tmp_path: Path) -> None:
    wanted = [_conversation("问\n题", "答\u2028案"), _conversation()]
    write_jsonl(tmp_path / "a.jsonl", wanted)
    assert read_jsonl(tmp_path / "a.jsonl") == wanted
    assert (tmp_path / "a.jsonl").read_bytes().count(b"\n") == 2


def test_line_is_exactly_the_public_form(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [_conversation()])
    text = (tmp_path / "a.jsonl").read_text(encoding="utf-8")
    assert text == '{"conversations": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}]}\n'


def test_all_bad_lines_at_once(tmp_path: Path) -> None:
    good = '{"conversations": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}]}'
    lines = [
        good,
        "{not json",
        good.replace('"答"', '"　"'),
        good.replace('"assistant"', '"user"'),
        good.replace('"答"', "NaN"),
        good.replace('"答"', "7"),
        "[1]",
        good,
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_jsonl(tmp_path / "a.jsonl")
    message = str(caught.value)
    for number in range(2, 8):
        assert f"line {number}:" in message
    assert "line 1:" not in message
    assert "line 8:" not in message
