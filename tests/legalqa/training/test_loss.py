"""Packed = separate, chunked = plain, and the labels say exactly what is learned."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from legalqa.params import LoraParams
from legalqa.prompt import Prompt
from legalqa.training import lora
from legalqa.training.attention import PACKED_ATTENTION
from legalqa.training.batches import IGNORED, MicroBatches
from legalqa.training.int8 import FrozenInt8Linear, in_levels
from legalqa.training.loss import AnswerLoss, install
from legalqa.training.packing import Samples, lay_out, tokenise
from tests.legalqa.training.conftest import conversations


@pytest.fixture(scope="module")
def samples(prompt: Prompt) -> Samples:
    return tokenise("train", conversations(7), prompt, 64)


def batches(samples: Samples, *, packed: bool, rank: int = 0, processes: int = 1, capacity: int = 1000) -> MicroBatches:
    laid = lay_out([list(range(len(samples)))], samples.lengths, processes, capacity)
    return MicroBatches(samples, laid, rank, processes, pad_id=0, packed=packed)


def load(base: Path, attention: str) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation=attention).eval()


def test_packed_logits_are_the_separate_ones(base: Path, samples: Samples) -> None:
    packed, plain = load(base, PACKED_ATTENTION), load(base, "sdpa")
    batch = batches(samples, packed=True)[0]
    inputs = {name: batch[name] for name in ("input_ids", "position_ids", "cu_seq_lens_q")}
    with torch.no_grad():
        together = packed(**inputs, use_cache=False).logits[0]
        for a, b in pairwise(batch["cu_seq_lens_q"].tolist()):
            alone = plain(batch["input_ids"][:, a:b], use_cache=False).logits[0]
            assert torch.allclose(together[a:b], alone, atol=1e-5)


@pytest.mark.parametrize("packed", [True, False])
def test_loss_and_gradient_are_those_of_each_sample_alone(base: Path, samples: Samples, packed: bool) -> None:
    reference = load(base, "eager")
    expected = torch.zeros(())
    for index in range(len(samples)):
        ids, answer = samples.sample(index)
        row = torch.from_numpy(ids).long()
        logits = reference(row[None], use_cache=False).logits[0]
        expected = expected + functional.cross_entropy(logits[answer - 1 : -1], row[answer:], reduction="sum")
    expected.backward()

    model = load(base, PACKED_ATTENTION if packed else "sdpa")
    model.get_input_embeddings().weight.requires_grad_(False)  # as with LoRA, the (tied) head is not learned
    install(model)
    batch = dict(batches(samples, packed=packed)[0])
    assert batch.pop("answer_tokens") == sum(samples.answer_tokens)
    loss = model(**batch, use_cache=False).loss
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.allclose(model.get_parameter(name).grad, reference.get_parameter(name).grad, atol=1e-4)
    with torch.no_grad():
        assert model(**batch, use_cache=False).loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_chunks_of_a_long_answer_and_blocks_of_a_large_vocabulary_add_up() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 9000, bias=False).requires_grad_(False)
    hidden, labels = torch.randn(1, 700, 8, requires_grad=True), torch.randint(0, 9000, (1, 700))
    labels[0, :100] = IGNORED
    loss = AnswerLoss(head)(hidden, labels)
    assert loss.dtype == torch.float32
    expected = functional.cross_entropy(head(hidden[0]), labels[0], reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, hidden)
    assert torch.allclose(gradient, torch.autograd.grad(expected, hidden)[0], atol=1e-5)


def test_tokens_guessed_right_are_counted_without_gradients_alone() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 9000, bias=False).requires_grad_(False)  # three blocks of words, the last one smaller
    hidden = torch.randn(1, 600, 8)
    labels = torch.where(torch.rand(1, 600) < 0.5, head(hidden).argmax(-1), torch.randint(0, 9000, (1, 600)))
    labels[0, ::7] = IGNORED
    right = (head(hidden).argmax(-1) == labels).sum()
    loss = AnswerLoss(head)
    with torch.no_grad():
        loss(hidden, labels)
    assert 200 < loss.right == right
    loss(hidden.requires_grad_(), labels)
    assert loss.right == right


def test_labels_are_the_answer_and_its_end(samples: Samples, prompt: Prompt) -> None:
    batch = batches(samples, packed=True)[0]
    targets = torch.full_like(batch["input_ids"][0], IGNORED)
    targets[batch["logits_to_keep"]] = batch["labels"][0]
    for a, b in pairwise(batch["cu_seq_lens_q"].tolist()):
        learned = targets[a:b][targets[a:b] != IGNORED].tolist()
        row = batch["input_ids"][0, a:b].tolist()
        assert row[-len(learned) :] == learned
        assert learned[-1] in prompt.stop_ids
        assert targets[b - 1] == IGNORED  # nothing is predicted across a boundary


def test_a_process_without_samples_takes_part_with_zero(base: Path, samples: Samples) -> None:
    laid = [[[0], [1], [2], []]]
    empty = dict(MicroBatches(samples, laid, rank=1, processes=2, pad_id=0, packed=True)[1])
    empty.pop("answer_tokens")
    model = load(base, PACKED_ATTENTION)
    adapted = lora.attach(model, LoraParams(r=2))
    install(model)
    loss = adapted(**empty, use_cache=False).loss
    loss.backward()
    assert loss.item() == 0
    assert all(not p.grad.any() for p in adapted.parameters() if p.requires_grad)


def test_pad_is_the_end_token_and_still_learned(samples: Samples, prompt: Prompt) -> None:
    (end, *_) = prompt.stop_ids
    laid = lay_out([list(range(len(samples)))], samples.lengths, 1, 1000)
    batch = MicroBatches(samples, laid, 0, 1, pad_id=end, packed=False)[0]
    assert (batch["labels"] != IGNORED).sum() == sum(samples.answer_tokens)
    assert batch["attention_mask"].sum() == sum(samples.lengths)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_head_in_int8_gives_nearly_the_same_loss_and_gradient(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("legalqa.training.loss.WORDS", 64)
    torch.manual_seed(0)
    levels, sizes = in_levels(torch.randn(300, 32))
    exact = torch.nn.Linear(32, 300, bias=False).requires_grad_(False)
    exact.weight.data = (levels * sizes).to(dtype)
    labels = torch.randint(0, 300, (1, 20))
    found = []
    for head in (exact, FrozenInt8Linear(levels, sizes.flatten(), None)):
        hidden = torch.randn(1, 20, 32, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
        loss = AnswerLoss(head)(hidden, labels)
        loss.backward()
        found.append((loss.item(), hidden.grad.float()))
    assert found[1][0] == pytest.approx(found[0][0], rel=0.01) and found[1][0] != found[0][0]
    assert (found[0][1] - found[1][1]).norm() < 0.02 * found[0][1].norm()
