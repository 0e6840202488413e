"""A tiny base, a few conversations, and jobs made of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from legalqa.params import TrainParams
from legalqa.prompt import Prompt
from legalqa.records import Conversation, Message
from legalqa.training import machine
from legalqa.training.job import DEV, TRAIN, Job, prepare
from legalqa.training.packing import tokenise
from tests.tiny import tiny_model


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that says it has VNNI: without it int8 works as well, but slowly, which a tiny model does not feel."""
    flags = machine.cpu_flags() | {"avx512_vnni"}
    monkeypatch.setattr(machine, "cpu_flags", lambda: flags)


@pytest.fixture
def make_job(base: Path, prompt: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vnni: None) -> Callable[..., Job]:
    """A job of 24 conversations in 12 steps, checked and saved 4 times, in one process unless told; keys go to TrainParams."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))

    def make(key: str = "key", processes: int = 1, of: Path = base, **keys: Any) -> Job:
        monkeypatch.setenv("LEGALQA_PROCESSES", str(processes))
        params = TrainParams(**{"batch": 4, "epochs": 2, "max_length": 64, "pack_tokens": 128, "learning_rate": 5e-3, **keys})
        splits = {TRAIN: tokenise("train", conversations(24), prompt, 64), DEV: tokenise("dev", conversations(5), prompt, 64)}
        return prepare(key, params, of, prompt.pad_id, splits)

    return make


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
