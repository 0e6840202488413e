"""Every family's checkpoint, saved as its maker saves it, becomes a base that is asked and answers."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from legalqa.base import loading, local
from legalqa.base.identity import Identity
from legalqa.prompt import Prompt
from legalqa.records import Message
from tests.families import FAMILIES, family_model


@pytest.mark.parametrize("family", FAMILIES)
def test_taken_checked_asked(family: str, tmp_path: Path) -> None:
    local.write(family_model(tmp_path / "source", family), tmp_path / "base")
    loading.check(tmp_path / "base")
    prompt = Prompt.from_base(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.bfloat16)
    ids = torch.tensor([prompt.completion([Message(role="user", content="离婚后房子归谁？")])])
    answer = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=4,
        do_sample=False,
        eos_token_id=sorted(prompt.stop_ids),
        pad_token_id=prompt.pad_id,
    )
    assert answer.shape[1] > ids.shape[1]
    assert isinstance(prompt.decode(answer[0, ids.shape[1] :].tolist()), str)
    assert Identity.of(tmp_path / "base", family, "local").parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_reads_the_same_tokenizer(family: str, tmp_path: Path) -> None:
    local.write(family_model(tmp_path / "source", family), tmp_path / "base")
    prompt = Prompt.from_base(tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    text = "离婚后房子归谁？ the law [x] 1079\n"
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == prompt.encode(text)
