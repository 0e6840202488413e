"""A GGUF cut into wheels becomes the folder it was made from; other bytes are refused."""

import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from legalqa.base import gguf_model, loading
from legalqa.base.identity import Identity
from legalqa.base.packaged import QWEN_CODER, Package, write
from legalqa.files import read_json, sha256
from legalqa.problems import UserError
from legalqa.wheels import Wheel
from tests.legalqa.base.conftest import Hub

TEMPLATE = "{{ messages }}"


@pytest.fixture(scope="module")
def gguf_file(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as llama.cpp would write it: Q8_0 matrices, the tied embedding twice, once coarser."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    weights = {name: tensor.float().numpy() for name, tensor in load_file(tiny / "model.safetensors").items()}
    config, tokenizer = read_json(tiny / "config.json"), read_json(tiny / "tokenizer.json")
    words = tokenizer["model"]["vocab"]
    specials = [token["content"] for token in tokenizer["added_tokens"]]
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*sorted(words, key=words.__getitem__), *specials])
    writer.add_token_types([gguf.TokenType.NORMAL] * len(words) + [gguf.TokenType.CONTROL] * len(specials))
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["pad_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    q8, q5 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q5_0
    names = {f"model.layers.{layer}.{ours}": f"blk.{layer}.{theirs}" for layer in range(2) for theirs, ours in _blocks()}
    names |= {"model.norm": "output_norm", "model.embed_tokens": "output"}
    for name, weight in weights.items():
        stem, _, kind = name.rpartition(".")
        values = gguf.quantize(weight, q8) if weight.ndim == 2 else weight
        writer.add_tensor(f"{names[stem]}.{kind}", values, raw_dtype=q8 if weight.ndim == 2 else None)
    writer.add_tensor("token_embd.weight", gguf.quantize(weights["model.embed_tokens.weight"], q5), raw_dtype=q5)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _blocks() -> list[tuple[str, str]]:
    return list(gguf_model.BLOCK.items())


@pytest.fixture(scope="module")
def package(gguf_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Package]:
    """The file in two wheels of a package index that is a folder."""
    index = tmp_path_factory.mktemp("index")
    content = gguf_file.read_bytes()
    wheels = []
    for number, part in enumerate((content[:10_000], content[10_000:]), start=1):
        path = index / f"part_{number}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"part_{number}/data/part{number:02d}.bin", part)
            metadata = f"Metadata-Version: 2.1\nName: part-{number}\nVersion: 1.0\n"
            wheel.writestr(f"part_{number}-1.0.dist-info/METADATA", metadata)
            wheel.writestr(
                f"part_{number}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"part_{number}-1.0.dist-info/RECORD", "")
        wheels.append(Wheel(f"part-{number}", "1.0", sha256(path)))
    revision = QWEN_CODER.revision
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(index))
        patch.setenv("LEGALQA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Package("tiny", "mit", sha256(gguf_file), len(content), "someone/tiny-GGUF", revision, "tiny.gguf", tuple(wheels))


@pytest.fixture(scope="module")
def base(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "base"
    write(folder, package)
    return folder


@pytest.fixture
def no_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("LEGALQA_CACHE", str(tmp_path / "cache"))


def test_is_the_model_that_it_was_made_from(base: Path, tiny: Path) -> None:
    loading.check(base)
    made, original = load_file(base / "model.safetensors"), load_file(tiny / "model.safetensors")
    assert made.keys() == original.keys()
    for name, weight in made.items():
        assert weight.dtype == torch.bfloat16
        torch.testing.assert_close(weight.float(), original[name].float(), atol=2e-3, rtol=0.01, msg=name)


def test_identity(package: Package, tiny: Path, tmp_path: Path) -> None:
    identity = write(tmp_path / "base", package)
    assert (identity.name, identity.source, identity.revision, identity.licence) == (
        "tiny",
        "packaged",
        package.revision,
        "mit",
    )
    assert identity.sha256 == sha256(tmp_path / "base" / "model.safetensors")
    assert identity.parameters == Identity.load(tiny).parameters


def test_the_finer_copy_of_the_embedding_stays(base: Path, gguf_file: Path) -> None:
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(gguf_file).tensors}
    fine = gguf.dequantize(tensors["output.weight"].data, tensors["output.weight"].tensor_type)
    made = load_file(base / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(made, torch.from_numpy(np.array(fine)).to(torch.bfloat16))


def test_config_and_logits(base: Path, tiny: Path) -> None:
    config = read_json(base / "config.json")
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"], "transformers 4 reads the one, 5 the other"
    assert config["tie_word_embeddings"] is True
    assert config["rms_norm_eps"] == 1e-6
    ids = torch.arange(40).reshape(2, 20)
    made, original = (AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32) for f in (base, tiny))
    with torch.no_grad():
        torch.testing.assert_close(made(ids).logits, original(ids).logits, atol=0.02, rtol=0)


def test_tokenizer_is_the_same(base: Path, tiny: Path) -> None:
    made, original = (Tokenizer.from_file(str(f / "tokenizer.json")) for f in (base, tiny))
    for text in ("离婚合同 the law's\n\n 第1079条", "e\u0301 \u3000", "<|im_start|>user\n问<|im_end|>", "🙂"):
        assert made.encode(text).ids == original.encode(text).ids
    assert read_json(base / "tokenizer_config.json")["chat_template"] == TEMPLATE


def test_same_bytes_each_time(package: Package, base: Path, tmp_path: Path) -> None:
    write(tmp_path / "again", package)
    for path in base.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_parts_joined_to_another_file_are_refused(package: Package, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tiny\.gguf: sha256 .*; expected 0000.*not the bytes that Qwen published"):
        write(tmp_path / "base", replace(package, sha256="0" * 64))


@pytest.mark.usefixtures("no_wheels")
def test_the_hub_where_the_index_has_no_wheels(package: Package, gguf_file: Path, tmp_path: Path, local_hub: Hub) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    shutil.copyfile(gguf_file, repository / "tiny.gguf")
    local_hub.repositories["someone/tiny-GGUF"] = repository
    local_hub.commit = package.revision
    assert write(tmp_path / "base", package).parameters == Identity.of(tmp_path / "base", "x", "packaged").parameters


@pytest.mark.usefixtures("no_wheels", "local_hub")
def test_neither_wheels_nor_hub(package: Package, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither in the package index nor on the hub") as caught:
        write(tmp_path / "base", package)
    assert [problem.where.split()[0] for problem in caught.value.problems] == ["part-1", "someone/tiny-GGUF"]


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "llama.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UserError, match="a Qwen2 GGUF file"):
        gguf_model.write(tmp_path / "llama.gguf", tmp_path / "base")
