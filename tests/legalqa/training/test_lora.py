from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from legalqa.base.identity import Identity
from legalqa.files import read_json, write_json
from legalqa.params import LoraParams
from legalqa.problems import UserError
from legalqa.training.lora import CONFIG, WEIGHTS, attach, check_adapter, linear_names, load_adapted
from tests.tiny import tiny_model

Doctor = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
B = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
A = B.replace("lora_B", "lora_A")


@pytest.fixture(params=[{}, {"dora": True}, {"rslora": True}], ids=str)
def adapter(base: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An adapter whose B matrices are not zero."""
    model = attach(AutoModelForCausalLM.from_pretrained(base), LoraParams(r=4, **request.param))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    model.save_pretrained(tmp_path / "adapter")
    config = read_json(tmp_path / "adapter" / CONFIG)
    write_json(tmp_path / "adapter" / CONFIG, config | {"base_model_name_or_path": Identity.load(base).name})
    return tmp_path / "adapter"


def test_a_good_adapter_passes_and_changes_the_logits(base: Path, adapter: Path) -> None:
    check_adapter(adapter)
    model = load_adapted(base, adapter)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        tuned = model(ids).logits
        with model.disable_adapter():
            plain = model(ids).logits
    assert not torch.equal(tuned, plain)
    assert model.dtype == torch.bfloat16 and not model.training


@pytest.mark.parametrize(
    ("doctor", "found"),
    [
        (lambda t: t | {B: torch.empty(0)}, rf"{WEIGHTS}: {B}: empty, shape \[0\]"),
        (lambda t: t | {B: torch.zeros_like(t[B])}, rf"{B}: all zero: never trained"),
        (lambda t: t | {A: t[A] * float("nan")}, rf"{A}: NaN or Inf"),
        (lambda t: {name: v for name, v in t.items() if name != A}, rf"{A}: missing; expected the twin of {B}"),
        (lambda t: t | {A: t[A][:3].clone()}, rf"{A}: shape \[3, 64\]; expected rank 4"),
        (lambda t: {}, "no tensors"),
    ],
)
def test_a_doctored_adapter_is_refused_by_file_and_tensor(base: Path, adapter: Path, doctor: Doctor, found: str) -> None:
    save_file(doctor(load_file(adapter / WEIGHTS)), adapter / WEIGHTS)
    with pytest.raises(UserError, match=found):
        load_adapted(base, adapter)


def test_a_cut_off_or_missing_file_is_refused(adapter: Path) -> None:
    (adapter / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes()[:500])
    with pytest.raises(UserError, match="damaged adapter"):
        check_adapter(adapter)
    (adapter / WEIGHTS).unlink()
    with pytest.raises(UserError, match=f"{WEIGHTS}: missing"):
        check_adapter(adapter)


def test_an_adapter_for_another_base_is_refused(adapter: Path, tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", seed=1)
    Identity.load(other).model_copy(update={"name": "other"}).save(other)
    with pytest.raises(UserError, match="made for tiny; expected an adapter for other"):
        load_adapted(other, adapter)


def test_wrong_targets_are_refused_with_the_names_that_exist(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    with pytest.raises(
        UserError, match=r"query_key_value not in Qwen2ForCausalLM; expected some of down_proj, gate_proj, k_proj"
    ):
        attach(model, LoraParams(targets=["q_proj", "query_key_value"]))


def test_all_linear_takes_all_but_the_head(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    linear = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert linear_names(model) == linear
    adapted = attach(model, LoraParams(r=2))
    trained = {name.split(".lora_")[0].rpartition(".")[2] for name, p in adapted.named_parameters() if p.requires_grad}
    assert sorted(trained) == linear
