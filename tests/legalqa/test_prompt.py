"""One renderer: training starts with the completion, no user text opens a role, what is cut is said."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legalqa.prompt import Prompt
from legalqa.records import Message
from tests.tiny import SPECIAL_TOKENS, tiny_model


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Prompt:
    return Prompt.from_base(tiny_model(tmp_path_factory.mktemp("base")))


def talk(*contents: str, system: str = "") -> list[Message]:
    turns = [Message(role=("user", "assistant")[n % 2], content=content) for n, content in enumerate(contents)]
    return [Message(role="system", content=system), *turns] if system else turns


def test_chatml_is_the_reference_text(prompt: Prompt) -> None:
    ids = prompt.training(talk("问一", "答一", "问二", "答二", system="你是律师")).ids
    written = prompt.tokenizer.decode(ids, skip_special_tokens=False)
    assert written == (
        "<|im_start|>system\n你是律师<|im_end|>\n<|im_start|>user\n问一<|im_end|>\n<|im_start|>assistant\n答一<|im_end|>\n"
        "<|im_start|>user\n问二<|im_end|>\n<|im_start|>assistant\n答二<|im_end|>"
    )
    assert ids == prompt.tokenizer.encode(written, add_special_tokens=False).ids
