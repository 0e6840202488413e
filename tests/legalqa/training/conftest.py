"""A tiny base, a few conversations with it, and trainings in processes of their own that start fast.

The fork server imports torch, transformers and DeepSpeed once; each training is then a fork of it.
"""

from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from legalqa.params import LoraParams, TrainParams
from legalqa.prompt import Prompt
from legalqa.records import Conversation, Message
from legalqa.training.job import DEV, TRAIN, Job, Outcome, prepare
from legalqa.training.launch import _trim
from legalqa.training.job import LOG
from legalqa.training.packing import Samples, tokenise
from tests.tiny import tiny_model

Train = Callable[..., "Outcome | int"]


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
