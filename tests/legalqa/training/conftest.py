"""A tiny base and a few conversations."""

from pathlib import Path

import pytest

from legalqa.prompt import Prompt
from legalqa.records import Conversation, Message
from tests.tiny import tiny_model


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def prompt(base: Path) -> Prompt:
    return Prompt.from_base(base)


def conversations(count: int) -> list[Conversation]:
    """Short ones of different lengths."""
    return [
        Conversation(
            conversations=[
                Message(role="user", content="合同" * (1 + number % 5) + f"{number}?"),
                Message(role="assistant", content="法律" * (1 + number % 3) + "赔偿。"),
            ],
            records=[100 + number],
        )
        for number in range(count)
    ]
