from pathlib import Path

import pytest

from legalqa.files import read_json, write_json
from legalqa.params import TrainParams
from legalqa.problems import UserError
from legalqa.training import zero
from legalqa.training.machine import Machine

CPU = Machine(device="cpu", processes=1, threads=1, precision="bf16")


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_files_leave_to_params_what_params_decide(stage: int) -> None:
    config = zero.settings(TrainParams(zero=stage), CPU)
    assert config["zero_optimization"]["stage"] == stage
    assert {config[key] for key in zero.KEYS} == {"auto"}


def test_offload_goes_to_the_hosts_memory() -> None:
    gpu = CPU.model_copy(update={"device": "cuda"})
    config = zero.settings(TrainParams(zero=3, offload="parameters"), gpu)["zero_optimization"]
    assert config["offload_optimizer"] == config["offload_param"] == {"device": "cpu", "pin_memory": True}
    assert "offload_param" not in zero.settings(TrainParams(offload="optimizer"), gpu)["zero_optimization"]


def test_everything_that_contradicts_params_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = read_json(zero.FILES / "zero2.json")
    changed = {"train_batch_size": 7, "gradient_clipping": 0.5, "zero_optimization": {"stage": 3}, "fp16": {"enabled": True}}
    write_json(tmp_path / "zero2.json", config | changed | {"optimizer": {"type": "Adam"}})
    monkeypatch.setattr(zero, "FILES", tmp_path)
    with pytest.raises(UserError) as error:
        zero.settings(TrainParams(), CPU)
    said = str(error.value)
    assert len(error.value.problems) == 5
    assert 'zero2.json: train_batch_size: 7; expected "auto": train.batch of params.yaml decides' in said
    assert "zero_optimization.stage: 3; expected 2 (train.zero)" in said


def test_a_missing_or_broken_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zero, "FILES", tmp_path)
    with pytest.raises(UserError, match=r"zero2.json: missing"):
        zero.settings(TrainParams(), CPU)
    (tmp_path / "zero2.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"zero2.json: not JSON"):
        zero.settings(TrainParams(), CPU)
