import shutil
from pathlib import Path
from typing import Literal

import pytest
from transformers import AutoModelForCausalLM

from legalqa.files import write_json
from legalqa.params import BaseParams, TrainParams
from legalqa.problems import UserError
from legalqa.records import write_jsonl
from legalqa.training import fits, lora, plan
from legalqa.training.job import settled
from legalqa.training.machine import Machine
from legalqa.training.shapes import PUBLIC, Shape, memory
from tests.legalqa.training.conftest import conversations

ROOT = Path(__file__).resolve().parents[3]
BIG = TrainParams(pack_tokens=2048)
CPU = Machine(device="cpu", processes=1, threads=1, precision="bf16")


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


def test_zero_3_keeps_a_small_model_whole_beside_its_shares() -> None:
    """DeepSpeed lets go of gathered weights only beyond 1e9 of them; measured with the 0.5B base on two processes."""
    small = PUBLIC["Qwen/Qwen2.5-Coder-0.5B-Instruct"]
    whole = 2 * small.parameters / 1e9
    assert memory(small, TrainParams(zero=3), "cpu", 2, 2, wide=False, tokens=512).weights == pytest.approx(1.5 * whole)
    of_seven = memory(PUBLIC["Llama-2-7B"], TrainParams(zero=3), "cuda", 8, 8, wide=False, tokens=512).weights
    assert of_seven == pytest.approx(2 * (PUBLIC["Llama-2-7B"].parameters / 8 + 1e9) / 1e9)


@pytest.mark.parametrize("name", ["Llama-2-7B", "Qwen/Qwen2.5-Coder-0.5B-Instruct"])
def test_int8_keeps_the_words_and_norms_in_16_bits(name: str) -> None:
    shape = PUBLIC[name]
    words, norms = shape.vocabulary * shape.hidden, shape.hidden * (2 * shape.layers + 1)
    planned = memory(shape, TrainParams(quantise="int8"), "cpu", 2, 2, wide=False, tokens=512).weights
    assert planned == pytest.approx((shape.linear_parameters + words + 2 * (words + norms)) / 1e9)


def test_the_verdict_names_the_first_knob_that_helps() -> None:
    machine = Machine(device="cuda", processes=1, threads=1, precision="bf16")
    shape = PUBLIC["Llama-2-7B"]
    assert fits.verdict(shape, BIG, machine, 80, 2048).startswith("fits (80.0 GB")
    assert "it would with gradient_checkpointing: true" in fits.verdict(shape, BIG, machine, 20, 2048)
    assert "it would with quantise: nf4" in fits.verdict(shape, BIG, machine, 10, 2048)
    assert "with any setting; use a smaller base" in fits.verdict(PUBLIC["GLM-130B"], BIG, machine, 2, 2048)


@pytest.mark.parametrize(("device", "processes"), [("cpu", 1), ("cpu", 2), ("cuda", 1)])
def test_each_knob_needs_less_memory(device: str, processes: int, vnni: None) -> None:
    shape = PUBLIC["Llama-2-7B"]
    ladder = fits.knobs(BIG, processes, device)
    totals = [
        memory(shape, tried, device, processes, processes, wide=False, tokens=min(2048, tried.pack_tokens)).total
        for _, tried in ladder
    ]
    assert len(ladder) >= 4 and totals == sorted(totals, reverse=True)
    assert any("int8" in name for name, _ in ladder) == (device == "cpu")


def test_int8_where_it_can_not_be(vnni: None) -> None:
    """A GPU refuses it and a processor with VNNI does not; DoRA leaves it off the ladder; GPUs are planned without it."""
    int8 = BIG.model_copy(update={"quantise": "int8"})
    gpu = Machine(device="cuda", processes=1, threads=1, precision="bf16")
    with pytest.raises(UserError, match=r"train\.quantise: int8 on a GPU; expected none or nf4"):
        settled(int8, gpu)
    assert settled(int8, CPU) == int8
    auto = BIG.model_copy(update={"quantise": "auto"})
    assert (settled(auto, CPU).quantise, settled(auto, gpu).quantise) == ("int8", "none")
    dora = BIG.model_copy(update={"lora": BIG.lora.model_copy(update={"dora": True})})
    assert not [name for name, _ in fits.knobs(dora, 1, "cpu") if "int8" in name]
    for keys in ({"zero": 3}, {"lora": dora.lora}):
        assert settled(auto.model_copy(update=keys), CPU).quantise == "none"
    assert fits.zero_table(PUBLIC["Llama-2-7B"], int8, 8) == fits.zero_table(PUBLIC["Llama-2-7B"], BIG, 8)
    assert fits.public_table(int8, 0.5, 140) == fits.public_table(BIG, 0.5, 140)


def test_a_processor_without_vnni_refuses_int8_and_is_planned_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("legalqa.training.machine.cpu_flags", lambda: {"avx2"})
    said = r"train\.quantise: int8 on a processor without VNNI; expected none or nf4: .* 16 times .*; -> set quantise: auto"
    with pytest.raises(UserError, match=said):
        settled(BIG.model_copy(update={"quantise": "int8"}), CPU)
    assert settled(BIG.model_copy(update={"quantise": "auto"}), CPU).quantise == "none"
    shape = PUBLIC["Llama-2-7B"]
    ladder = [
        (name, memory(shape, tried, "cpu", 2, 2, wide=False, tokens=min(2048, tried.pack_tokens)).total)
        for name, tried in fits.knobs(BIG, 2, "cpu")
    ]
    assert [name for name, _ in ladder] == ["as it is", "pack_tokens: 512", "gradient_checkpointing: true", "zero: 3"]
    assert [need for _, need in ladder] == sorted((need for _, need in ladder), reverse=True)


@pytest.mark.parametrize(("precision", "least"), [("bf16", 1.2), ("fp32", 1.8)])
def test_int8_is_planned_to_be_faster(
    precision: Literal["bf16", "fp32"], least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "matrix_peak", lambda _: 4e11)
    shape, machine = PUBLIC["Qwen/Qwen2.5-Coder-0.5B-Instruct"], CPU.model_copy(update={"precision": precision})
    data = plan.Data(64, 9000, 0.5, 0, 1000, 4, 9000, 2, 400, exact=True)
    plain = plan.estimate(shape, BIG, machine, data).tokens_per_s
    assert plan.estimate(shape, BIG.model_copy(update={"quantise": "int8"}), machine, data).tokens_per_s > least * plain


def test_public_models_on_one_to_64_gpus() -> None:
    lines = fits.public_table(TrainParams(), answer_share=0.5, sample_tokens=140)
    settings = {
        (name, int(line.split()[0])): line
        for name, row in zip(("ChatGLM3-6B", "Llama-2-7B", "Qwen2.5-32B", "GLM-130B"), range(2, 34, 8), strict=True)
        for line in lines[row + 1 : row + 8]
    }
    assert {gpus for _, gpus in settings} == {1, 2, 4, 8, 16, 32, 64} and len(settings) == 28
    assert "as it is" in settings["Llama-2-7B", 1] and "gradient_checkpointing" in settings["Qwen2.5-32B", 1]
    assert "offload: parameters" in settings["GLM-130B", 1] and "GB of each host" in settings["GLM-130B", 1]
    assert "zero: 3   " in settings["GLM-130B", 8]
    assert "does not fit" not in "".join(lines)


def test_weights_that_must_travel_take_their_time() -> None:
    """130 billion parameters in three passes over 25 GB/s are 31 s, far more than the work of 512 tokens."""
    params = TrainParams(zero=3, offload="parameters", gradient_checkpointing=True)
    shape = PUBLIC["GLM-130B"]
    assert fits._seconds(shape, params, 1, 0.5, 140) == pytest.approx(3 * 260e9 / 25e9, rel=0.01)
    assert fits._seconds(shape, params.model_copy(update={"pack_tokens": 8192}), 8, 0.5, 140) == pytest.approx(
        fits._seconds(shape, params.model_copy(update={"pack_tokens": 8192, "zero": 2}), 8, 0.5, 140)
    )


def test_targets_that_no_layer_has_are_refused() -> None:
    params = TrainParams()
    wrong = params.model_copy(update={"lora": params.lora.model_copy(update={"targets": ["q_proj", "gate_proj"]})})
    assert PUBLIC["Llama-2-7B"].trainable(wrong) > 0
    with pytest.raises(UserError, match=r"gate_proj not in ChatGLM3-6B; expected some of q_proj, k_proj, .*gate_up_proj"):
        PUBLIC["ChatGLM3-6B"].trainable(wrong)


def test_a_local_base_is_planned_from_its_configuration_alone(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    local = BaseParams(source="local", path="here")
    with pytest.raises(UserError, match=r"here/config.json: missing"):
        plan.base_shape(local)
    Path("here").mkdir()
    shutil.copy(base / "config.json", "here/config.json")
    assert plan.base_shape(local) == Shape.of(base, "here")
    sizes = {"padded_vocab_size": 65024, "hidden_size": 4096, "ffn_hidden_size": 13696, "num_layers": 28, "kv_channels": 128}
    heads = {"num_attention_heads": 32, "multi_query_group_num": 2, "seq_length": 8192, "layernorm_epsilon": 1e-5}
    write_json(Path("here/config.json"), {"model_type": "chatglm", "add_qkv_bias": True, **sizes, **heads})
    assert plan.base_shape(local.model_copy(update={"name": "ChatGLM3-6B"})) == PUBLIC["ChatGLM3-6B"]


def test_the_plan_of_a_project(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEGALQA_PROCESSES", "1")
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    with pytest.raises(UserError, match=r"data/splits/train.jsonl: missing; -> dvc repro split"):
        plan.main([])
    write_jsonl(Path("data/splits/train.jsonl"), conversations(40))
    write_jsonl(Path("data/splits/dev.jsonl"), conversations(5))
    plan.main([])
    said = capsys.readouterr().out
    assert "about " in said and "0.49 billion" in said  # the packaged base is not here yet: tokens by characters
    with pytest.raises(UserError, match=r"models/base: missing; expected a base to run two steps with; -> dvc repro base"):
        plan.main(["--calibrate"])
    shutil.copytree(base, "models/base")
    plan.main([])
    assert "about " in capsys.readouterr().out  # another base than the one that the params name
    text = Path("params.yaml").read_text(encoding="utf-8").replace("source: packaged", "source: local")
    Path("params.yaml").write_text(text.replace("path: null", "path: models/base", 1), encoding="utf-8")
    plan.main(["--calibrate"])
    said = capsys.readouterr().out
    assert "data       40 samples, " in said and "about" not in said
    assert "GB a process, measured in two steps (planned: " in said and "tokens/s (measured in two steps)" in said
    assert "verdict    fits" in said and "GLM-130B, 130." in said


def test_a_base_that_names_its_sizes_otherwise_is_named() -> None:
    with pytest.raises(UserError, match="no num_hidden_layers, hidden_size, intermediate_size, num_attention_heads"):
        Shape.from_config({"n_layer": 2, "n_embd": 8, "vocab_size": 10, "model_type": "gpt2"}, "gpt2")
