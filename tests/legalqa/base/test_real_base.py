"""The packaged base itself: the bytes that it was always turned into, and Chinese that a model can write and read."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from legalqa.base import packaged
from legalqa.prompt import Prompt
from legalqa.records import Message

QUESTION = Message(role="user", content="离婚后孩子的抚养费由谁承担？")
ANSWER = Message(
    role="assistant",
    content="离婚后，不直接抚养孩子的一方应当负担部分或者全部抚养费，数额由双方协议；协议不成的，由人民法院判决。",
)


@pytest.mark.model
def test_packaged_base(tmp_path: Path) -> None:
    identity = packaged.write(tmp_path / "base")
    assert identity.sha256 == "99a5b822202b35a0d265d1ebc67665edc2504f5b82dd9babc548fe95ce43f132"
    assert identity.parameters == 494_032_768
    prompt = Prompt.from_base(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.bfloat16)

    rendered = prompt.training([QUESTION, ANSWER])
    ids = torch.tensor([rendered.ids])
    labels = torch.where(torch.tensor([rendered.loss_mask]) == 1, ids, -100)
    with torch.no_grad():
        loss = model(ids, labels=labels).loss.item()
    assert loss == pytest.approx(2.80, abs=0.1), "nats a token of a good answer"

    asked = torch.tensor([prompt.completion([QUESTION])])
    written = model.generate(asked, attention_mask=torch.ones_like(asked), max_new_tokens=24, do_sample=False)
    answer = prompt.decode(written[0, asked.shape[1] :].tolist())
    assert sum("一" <= character <= "鿿" for character in answer) > len(answer) / 2
    assert "抚养" in answer
