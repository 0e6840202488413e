"""A tiny model folder, engines over it, and questions for them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from legalqa.engine.continuous_engine import ContinuousEngine
from legalqa.engine.interface import GenerationRequest
from legalqa.prompt import Prompt
from legalqa.records import Message
from tests.tiny import tiny_model

QUESTIONS = [
    "离婚",
    "公司不给加班费，怎么办？",
    "房东要提前收回房子",
    "借条没有写还款日期",
    "a",
    "邻居漏水把我家的墙泡坏了，他不肯赔",
]


def asked(prompt: Prompt, question: str, new: int = 24, **more: object) -> GenerationRequest:
    """A request for so many new tokens."""
    ids = prompt.completion([Message(role="user", content=question)])
    return replace(GenerationRequest(ids, new), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="session")
def prompt(tiny: Path) -> Prompt:
    return Prompt.from_base(tiny)


@pytest.fixture(scope="module")
def engine(tiny: Path, prompt: Prompt) -> Iterator[ContinuousEngine]:
    engine = ContinuousEngine(tiny, None, prompt, max_batch=4, max_context=256)
    engine.start()
    yield engine
    engine.stop()
