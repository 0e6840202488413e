"""A converted ChatGLM3 computes what the original computes, and its tokenizer gives SentencePiece's ids."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from legalqa.base import chatglm3, loading, local
from legalqa.files import read_json, write_json
from legalqa.problems import UserError
from legalqa.prompt import Prompt
from tests.legalqa.base.original_chatglm3 import (
    COMMON,
    WORDS,
    original_chatglm3,
    original_logits,
    original_weights,
    sentencepiece_ids,
    sentencepiece_model,
)

MODEL = sentencepiece_model()
VOCABULARY = len(MODEL.pieces) + 12
IDS = [(7 * position * position + 3) % VOCABULARY for position in range(40)]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("chatglm3")
    local.write(original_chatglm3(room / "original"), room / "base")
    return room / "base"


@pytest.fixture
def original(tmp_path: Path) -> Path:
    return original_chatglm3(tmp_path / "original")


def logits(folder: Path, ids: list[int]) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([ids])).logits[0]
    return found


def test_logits_are_the_originals(converted: Path) -> None:
    loading.check(converted)
    torch.testing.assert_close(logits(converted, IDS), original_logits(original_weights(VOCABULARY), IDS), atol=1e-4, rtol=0)


def test_logits_of_the_long_context_kind(original: Path, tmp_path: Path) -> None:
    write_json(original / "config.json", read_json(original / "config.json") | {"rope_ratio": 50})
    local.write(original, tmp_path / "base")
    expected = original_logits(original_weights(VOCABULARY), IDS, rope_ratio=50)
    torch.testing.assert_close(logits(tmp_path / "base", IDS), expected, atol=1e-4, rtol=0)
    assert (expected - original_logits(original_weights(VOCABULARY), IDS)).abs().max() > 0.01, "the ratio matters"


@pytest.mark.parametrize(("kind", "shards"), [("safetensors", 2), ("bin", 1), ("bin", 2)])
def test_every_layout_gives_the_same_weights(converted: Path, tmp_path: Path, kind: str, shards: int) -> None:
    local.write(original_chatglm3(tmp_path / "original", kind, shards), tmp_path / "base")
    loading.check(tmp_path / "base")
    files = sorted((tmp_path / "base").glob("*.safetensors"))
    assert len(files) == shards
    weights = {name: tensor for file in files for name, tensor in load_file(file).items()}
    expected = load_file(converted / "model.safetensors")
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}


def test_ends(converted: Path) -> None:
    prompt = Prompt.from_base(converted)
    names = [prompt.tokenizer.id_to_token(number) for number in read_json(converted / "config.json")["eos_token_id"]]
    assert names == ["</s>", "<|user|>", "<|observation|>"]
    assert prompt.tokenizer.token_to_id("[MASK]") == len(MODEL.pieces), "special tokens follow the pieces"


LOOKALIKES = (
    "sop",
    "eop",
    "people",
    "<|user|>",
    "</s>",
    "<s>",
    "<unk>",
    "<0x41>",
    "[gMASK]",
    "▁",
    " ",
    "  ",
    "\n",
    "\t",
    "\u0000",
)


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(st.sampled_from([*WORDS, *LOOKALIKES, *COMMON]) | st.text(max_size=3), max_size=12))
def test_ids_are_sentencepieces(converted: Path, parts: list[str]) -> None:
    text = "".join(parts)
    prompt = _prompt(converted)
    assert prompt.encode(text) == sentencepiece_ids(MODEL, text)
    assert prompt.tokenizer.decode(prompt.encode(text)) == text.replace("▁", " ")


_PROMPTS: dict[Path, Prompt] = {}


def _prompt(folder: Path) -> Prompt:
    return _PROMPTS.setdefault(folder, Prompt.from_base(folder))


def test_what_was_tuned_or_quantised_is_refused(original: Path, tmp_path: Path) -> None:
    changes = {"pre_seq_len": 128, "quantization_bit": 4, "multi_query_attention": False}
    write_json(original / "config.json", read_json(original / "config.json") | changes)
    (original / "tokenizer.model").unlink()
    with pytest.raises(UserError, match="neither quantised nor tuned") as caught:
        local.write(original, tmp_path / "base")
    places = [problem.where.rpartition("/")[2] for problem in caught.value.problems]
    assert places == [*(f"config.json: {key}" for key in sorted(changes)), "tokenizer.model"]


def test_keys_missing_in_the_config(original: Path, tmp_path: Path) -> None:
    config = read_json(original / "config.json")
    del config["kv_channels"], config["seq_length"]
    write_json(original / "config.json", config)
    with pytest.raises(UserError, match=r"kv_channels: missing(.|\n)*seq_length: missing"):
        local.write(original, tmp_path / "base")


def test_pickle_that_holds_code_is_not_run(original: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "harm",))  # type: ignore[return-value]

    (original / "model.safetensors").unlink()
    torch.save({"x": Harm()}, original / "pytorch_model.bin")
    with pytest.raises(UserError, match="can't be read as weights"):
        local.write(original, tmp_path / "base")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.safetensors", b"\x00" * 100, "can't be read as weights"),
        ("tokenizer.model", b"\xff" * 100, "no SentencePiece model"),
        ("tokenizer.model", b"", "another kind of SentencePiece model"),
    ],
    ids=["weights", "tokenizer", "empty tokenizer"],
)
def test_damaged_files(original: Path, tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (original / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        local.write(original, tmp_path / "base")


def test_shard_missing(tmp_path: Path) -> None:
    original = original_chatglm3(tmp_path / "original", "bin", shards=2)
    (original / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(UserError, match=r"pytorch_model-00002-of-00002\.bin: missing"):
        local.write(original, tmp_path / "base")


def test_unknown_weight() -> None:
    with pytest.raises(UserError, match=r"transformer\.prefix: unknown weight"):
        chatglm3.native_weights("transformer.prefix", torch.zeros(1), {})
