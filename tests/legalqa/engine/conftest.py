"""A tiny model folder and engines over it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from legalqa.engine.transformers_engine import TransformersEngine
from legalqa.prompt import Prompt
from tests.tiny import tiny_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="session")
def prompt(tiny: Path) -> Prompt:
    return Prompt.from_base(tiny)


@pytest.fixture(scope="module")
def engine(tiny: Path, prompt: Prompt) -> Iterator[TransformersEngine]:
    engine = TransformersEngine(tiny, None, prompt, max_batch=4, max_context=256)
    engine.start()
    yield engine
    engine.stop()
