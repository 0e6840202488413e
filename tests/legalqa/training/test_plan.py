import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from legalqa.params import TrainParams
from legalqa.problems import UserError
from legalqa.records import write_jsonl
from legalqa.training import lora, plan
from legalqa.training.machine import Machine
from legalqa.training.shapes import PUBLIC, Shape, memory
from tests.legalqa.training.conftest import conversations

ROOT = Path(__file__).resolve().parents[3]
BIG = TrainParams(pack_tokens=2048)


def gigabytes(name: str, gpus: int = 8, **keys: object) -> float:
    params = BIG.model_copy(update=keys)
    return memory(PUBLIC[name], params, "cuda", gpus, 8, wide=False, tokens=params.pack_tokens).total


def test_parameters_are_those_of_the_model(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    shape = Shape.of(base, "tiny")
    biases = sum(p.numel() for name, p in model.named_parameters() if name.endswith("bias"))
    assert shape.parameters == model.num_parameters() - biases
    adapted = lora.attach(model, TrainParams().lora)
    assert shape.trainable(TrainParams()) == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("name", "billions"), [("ChatGLM3-6B", 6.24), ("Llama-2-7B", 6.74), ("Qwen2.5-32B", 32.8), ("GLM-130B", 130)]
)
def test_public_shapes_have_their_published_size(name: str, billions: float) -> None:
    assert PUBLIC[name].parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_each_knob_needs_less() -> None:
    needs = [gigabytes("Llama-2-7B", zero=stage) for stage in (1, 2, 3)]
    assert needs[0] > needs[1] > needs[2]
    assert gigabytes("Llama-2-7B", gradient_checkpointing=True) < needs[1] / 1.5
    assert gigabytes("Llama-2-7B", quantise="nf4") < needs[1] - 8
    assert gigabytes("Llama-2-7B", zero=3, offload="parameters") < needs[2]
    assert gigabytes("GLM-130B", gpus=1) > 250 > 80 > gigabytes("GLM-130B", gpus=8, zero=3, gradient_checkpointing=True)


def test_the_verdict_names_the_first_knob_that_helps() -> None:
    machine = Machine(device="cuda", processes=1, threads=1, precision="bf16")
    shape = PUBLIC["Llama-2-7B"]
    assert plan.verdict(shape, BIG, machine, 80, 2048) == "fits"
    assert "it would with gradient_checkpointing: true" in plan.verdict(shape, BIG, machine, 20, 2048)
    assert "it would with quantise: nf4" in plan.verdict(shape, BIG, machine, 10, 2048)
    assert plan.verdict(PUBLIC["GLM-130B"], BIG, machine, 2, 2048).startswith("does not fit; use a smaller base")


def test_the_plan_of_a_project(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    with pytest.raises(UserError, match=r"data/splits/train.jsonl: missing; -> dvc repro split"):
        plan.main([])
    write_jsonl(Path("data/splits/train.jsonl"), conversations(40))
    write_jsonl(Path("data/splits/dev.jsonl"), conversations(5))
    plan.main([])
    assert "about " in capsys.readouterr().out  # the packaged base is not here yet: tokens by characters
    shutil.copytree(base, "models/base")
    plan.main([])
    said = capsys.readouterr().out
    assert "data       40 samples, " in said and "about" not in said
    assert "verdict    fits" in said and "GLM-130B, 130." in said
