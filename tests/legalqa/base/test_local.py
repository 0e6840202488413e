"""A checkpoint folder is taken as it is, without code; what can't be a base is refused with its reason."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from legalqa.base import loading, local
from legalqa.files import read_json, write_json
from legalqa.problems import UserError
from legalqa.prompt import Prompt


@pytest.fixture
def source(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "source"))


def change(path: Path, **values: object) -> None:
    write_json(path, read_json(path) | values)


def test_taken_without_its_code(source: Path, tmp_path: Path) -> None:
    change(source / "config.json", auto_map={"AutoModelForCausalLM": "modeling_own.Own"})
    change(source / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_own.Own", None]})
    (source / "modeling_own.py").write_text("raise SystemExit", encoding="utf-8")
    (source / "chat_template.jinja").write_text("{{ enable_thinking }}", encoding="utf-8")
    local.write(source, tmp_path / "base")
    names = {path.name for path in (tmp_path / "base").iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert "auto_map" not in (tmp_path / "base" / "config.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "base" / "tokenizer_config.json").keys() == {
        *("tokenizer_class", "eos_token", "pad_token", "chat_template")
    }
    loading.check(tmp_path / "base")
    assert Prompt.from_base(tmp_path / "base").name == "chatml"


def shard(source: Path) -> None:
    weights = load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    parts = dict(list(weights.items())[:5]), dict(list(weights.items())[5:])
    weight_map = {}
    for number, part in enumerate(parts, start=1):
        name = f"model-{number:05d}-of-00002.safetensors"
        save_file(part, source / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, name)
    write_json(source / local.INDEX, {"metadata": {}, "weight_map": weight_map})


def test_shards(source: Path, tmp_path: Path) -> None:
    shard(source)
    save_file({"other": torch.zeros(1)}, source / "consolidated.safetensors")
    local.write(source, tmp_path / "base")
    loading.check(tmp_path / "base")
    assert not (tmp_path / "base" / "consolidated.safetensors").exists()


def test_tokenizer_of_older_files(source: Path, tmp_path: Path) -> None:
    tokenizer = read_json(source / "tokenizer.json")
    model = tokenizer["model"]
    write_json(source / "vocab.json", model["vocab"])
    merges = "\n".join(" ".join(merge) for merge in model["merges"])
    (source / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    added = {str(token["id"]): {"content": token["content"], "special": True} for token in tokenizer["added_tokens"]}
    change(source / "tokenizer_config.json", added_tokens_decoder=added)
    before = Prompt.from_base(source)
    (source / "tokenizer.json").unlink()
    local.write(source, tmp_path / "base")
    after = Prompt.from_base(tmp_path / "base")
    assert after.encode("离婚合同 the law") == before.encode("离婚合同 the law")
    assert after.stop_ids == before.stop_ids


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlanguage: zh\nlicense: apache-2.0\n---\n# Model\n", "apache-2.0"),
        ("---\nlanguage: zh\n---\nlicense: no\n", ""),
        ("license: no\n", ""),
        (None, ""),
    ],
)
def test_licence_of_the_model_card(tmp_path: Path, card: str | None, expected: str) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert local.licence(tmp_path) == expected


def test_all_reasons_at_once(source: Path, tmp_path: Path) -> None:
    shard(source)
    change(source / "config.json", model_type="own", auto_map={}, quantization_config={"quant_method": "gptq"})
    (source / "model-00001-of-00002.safetensors").unlink()
    broken = source / "model-00002-of-00002.safetensors"
    broken.write_bytes(broken.read_bytes()[:-10])
    with pytest.raises(UserError) as caught:
        local.write(source, tmp_path / "base")
    said = [problem.found for problem in caught.value.problems]
    assert [reason.split(" ")[0] for reason in said] == ["model_type", "already", "missing", "damaged"]
    assert "code of its own, which is never run" in said[0]


@pytest.mark.parametrize(
    ("remove", "said"),
    [
        (["model.safetensors"], "no weights"),
        (["config.json"], r"config\.json: missing"),
        (["tokenizer.json"], "no tokenizer; expected"),
    ],
)
def test_files_missing(source: Path, tmp_path: Path, remove: list[str], said: str) -> None:
    for name in remove:
        (source / name).unlink()
    with pytest.raises(UserError, match=said):
        local.write(source, tmp_path / "base")


def test_pickle_is_never_opened(source: Path, tmp_path: Path) -> None:
    (source / "model.safetensors").unlink()
    (source / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch harm'\ntR.")
    with pytest.raises(UserError, match="weights only as pickle, which can run code"):
        local.write(source, tmp_path / "base")


def test_tokenizer_of_another_model(source: Path, tmp_path: Path) -> None:
    change(source / "config.json", vocab_size=300)
    with pytest.raises(UserError, match="below 300, the vocab_size"):
        local.write(source, tmp_path / "base")


@pytest.mark.parametrize("content", ["{", "[]"])
def test_config_is_no_json_object(source: Path, tmp_path: Path, content: str) -> None:
    (source / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="not"):
        local.write(source, tmp_path / "base")


def test_a_configuration_of_several_models_is_refused_before_anything_is_copied(source: Path, tmp_path: Path) -> None:
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    write_json(source / "config.json", {"model_type": "qwen3_5", "text_config": config})
    with pytest.raises(UserError, match="no vocab_size; expected a text model's configuration, its sizes at the top"):
        local.write(source, tmp_path / "base")
    assert not list((tmp_path / "base").iterdir())


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such folder.*correct base\.path"):
        local.write(tmp_path / "nowhere", tmp_path / "base")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_hidden_layers": 3, "layer_types": None}, r"12 missing: model\.layers\.2"),
        ({"intermediate_size": 96}, r"6 of another shape: .*\(64, 128\) instead of \(64, 96\)"),
        ({"hidden_size": "64"}, "transformers can't build the model: .*hidden_size"),
    ],
)
def test_weights_of_another_config(source: Path, values: dict[str, object], said: str) -> None:
    config = json.loads((source / "config.json").read_text(encoding="utf-8")) | values
    write_json(source / "config.json", {key: value for key, value in config.items() if value is not None})
    with pytest.raises(UserError, match=said):
        loading.check(source)
