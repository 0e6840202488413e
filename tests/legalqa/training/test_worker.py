"""Whole trainings of a tiny model: killed, damaged, diverging, in several processes, under each ZeRO stage."""

import io
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from legalqa.problems import UserError
from legalqa.prompt import Prompt
from legalqa.training import checkpoints, int8, trainer, worker
from legalqa.training.checkpoints import Checkpoints
from legalqa.training.curves import read_log
from legalqa.training.job import LOG, Job, Outcome
from legalqa.training.lora import WEIGHTS, check_adapter
from tests.legalqa.training.conftest import conversations
from tests.legalqa.training.processes import train
from tests.tiny import OWN_ATTENTION, tiny_model

MakeJob = Callable[..., Job]


def finished(job: Job) -> Outcome:
    outcome = train(job)
    assert outcome is not None and outcome.status == "finished", outcome
    return outcome


def adapter(job: Job, step: int = 12) -> Path:
    return job.checkpoints.step_folder(step)


def losses(job: Job) -> list[float]:
    return [row["loss"] for row in read_log(job.folder / LOG) if "loss" in row]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class KillAt:
    """kill -9 at the n-th call of something, or at a step."""

    where: str
    number: int

    def __call__(self) -> None:
        getattr(self, f"_{self.where}")()

    def _count(self, owner: Any, name: str, deed: Callable[..., None]) -> None:
        original, calls = getattr(owner, name), 0

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == self.number:
                deed(original, *args, **kwargs)
                kill()
            return original(*args, **kwargs)

        setattr(owner, name, counted)

    def _step(self) -> None:
        original = trainer.Flow.on_step_end

        def at(flow: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == self.number:
                kill()
            original(flow, args, state, control, **kwargs)

        trainer.Flow.on_step_end = at

    def _evaluation(self) -> None:
        self._count(trainer.LoraTrainer, "evaluate", lambda *_, **__: None)

    def _half_a_state(self) -> None:
        def half(original: Any, value: Any, path: Any, *args: Any, **kwargs: Any) -> None:
            whole = io.BytesIO()
            original(value, whole)
            Path(path).write_bytes(whole.getvalue()[: whole.tell() // 2])

        self._count(torch, "save", half)

    def _half_an_adapter(self) -> None:
        import peft.peft_model

        def half(original: Any, tensors: Any, path: Any, **kwargs: Any) -> None:
            original(tensors, path, **kwargs)
            Path(path).write_bytes(Path(path).read_bytes()[:1000])

        self._count(peft.peft_model, "safe_save_file", half)

    def _before_the_seal(self) -> None:
        self._count(Checkpoints, "seal", lambda *_: None)

    def _half_a_seal(self) -> None:
        def half(_: Any, path: Path, value: Any) -> None:
            (path.parent / ".whole.json.x").mkdir()
            (path.parent / ".whole.json.x" / path.name).write_text('{"files"')

        self._count(checkpoints, "write_json", half)

    def _half_a_removal(self) -> None:
        def half(folder: Path) -> None:
            next(folder.glob("*.safetensors")).unlink()
            kill()

        checkpoints.shutil = SimpleNamespace(rmtree=half)  # type: ignore[assignment]

    def _half_an_int8_base(self) -> None:
        def half(_: Any, tensors: Any, path: Path) -> None:
            path.with_name(".tmpX").write_bytes(b"half")

        self._count(int8, "save_file", half)

    def _outcome(self) -> None:
        self._count(worker, "_outcome", lambda *_: None)


KILLS = [
    KillAt("step", 1),
    KillAt("evaluation", 2),  # the first one is before training
    KillAt("half_an_adapter", 1),
    *(KillAt("half_a_state", number) for number in (1, 2, 3, 4, 5)),
    KillAt("before_the_seal", 1),
    KillAt("half_a_seal", 1),
    KillAt("step", 5),
    KillAt("half_a_state", 2),
    KillAt("half_a_removal", 1),
    KillAt("step", 11),
    KillAt("outcome", 1),
]


def test_killed_at_any_moment_it_ends_with_the_same_bytes(make_job: MakeJob) -> None:
    unbroken = make_job("unbroken")
    expected = finished(unbroken)
    resumed = []
    for trap in KILLS:
        job = make_job("killed")
        resumed.append(job.resume)
        assert train(job, trap) is None, f"{trap} was never reached"
    job = make_job("killed")
    outcome = finished(job)
    assert [*resumed, job.resume] == [None] * 11 + [3, 3, 9, 9, 12]
    assert outcome == expected
    assert (adapter(job) / WEIGHTS).read_bytes() == (adapter(unbroken) / WEIGHTS).read_bytes()
    assert losses(unbroken)[-1] == losses(job)[-1]


def test_killed_with_an_int8_base_it_ends_with_the_same_bytes_and_leaves_no_files(make_job: MakeJob) -> None:
    keys = {"quantise": "int8", "processes": 2}
    unbroken = make_job("unbroken", **keys)
    expected = finished(unbroken)
    for trap in (KillAt("half_an_int8_base", 5), KillAt("step", 5)):
        assert train(make_job("killed", **keys), trap) is None
    job = make_job("killed", **keys)
    assert (job.resume, finished(job)) == (3, expected)
    assert (adapter(job) / WEIGHTS).read_bytes() == (adapter(unbroken) / WEIGHTS).read_bytes()
    assert sorted(path.name for path in job.folder.iterdir()) == sorted(path.name for path in unbroken.folder.iterdir())
    assert not list(job.folder.glob("int8*"))


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(make_job: MakeJob, capsys: pytest.CaptureFixture[str]) -> None:
    unbroken = make_job("unbroken")
    expected = finished(unbroken)
    assert train(make_job("damaged"), KillAt("step", 11)) is None
    [state] = (job_folder := make_job("damaged").folder / "checkpoint-9").glob("global_step9/*optim_states.pt")
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    job = make_job("damaged")
    assert job.resume == 6
    said = capsys.readouterr().out
    assert f"checkpoint-9: damaged, global_step9/{state.name} has changed; it is removed and the one before is used" in said
    assert not job_folder.exists()
    assert finished(job) == expected
    assert (adapter(job) / WEIGHTS).read_bytes() == (adapter(unbroken) / WEIGHTS).read_bytes()


def test_a_checkpoint_of_another_form_is_not_continued(make_job: MakeJob) -> None:
    assert train(make_job(), KillAt("step", 5)) is None
    with pytest.raises(UserError, match=r"made with .*go on where quantise can be the same, or remove .* to start anew"):
        make_job(quantise="nf4")


def test_a_published_training_starts_anew_and_repeats(make_job: MakeJob) -> None:
    job = make_job()
    outcome = finished(job)
    bytes_before = (adapter(job) / WEIGHTS).read_bytes()
    job.checkpoints.finish()
    again = make_job()
    assert again.resume is None
    assert finished(again) == outcome
    assert (adapter(again) / WEIGHTS).read_bytes() == bytes_before


def test_golden_losses_of_a_tiny_training(make_job: MakeJob) -> None:
    """Another number here is another training: say so in the commit."""
    job = make_job(precision="fp32")
    outcome = finished(job)
    assert losses(job) == pytest.approx(GOLDEN, rel=2e-3)
    assert outcome.dev_loss < outcome.dev_loss_before - 0.5


GOLDEN = [5.8941, 5.8803, 5.6254, 5.4719, 5.3532, 5.2346, 5.1048, 5.0112, 4.9446, 4.9023, 4.8904, 4.8824]


@pytest.mark.parametrize(
    "keys",
    [
        {"processes": 2},
        {"zero": 1, "processes": 2},
        {"zero": 3, "processes": 2},
        {"layout": "grouped"},
        {"gradient_checkpointing": True},
        {"pack_tokens": 64},
        {"zero": 2, "offload": "optimizer"},
        {"zero": 3, "offload": "parameters"},
    ],
    ids=str,
)
def test_how_it_is_computed_changes_no_loss(make_job: MakeJob, keys: dict[str, Any]) -> None:
    """Processes, ZeRO, layout, checkpointing and offload: the same loss curve to 0.1 %, and a whole adapter."""
    job = make_job(precision="fp32", **keys)
    finished(job)
    assert losses(job) == pytest.approx(GOLDEN, rel=2e-3)
    check_adapter(adapter(job))
    assert len(load_file(adapter(job) / WEIGHTS)) == 2 * 7 * 2  # A and B of seven layers in two blocks


@pytest.mark.parametrize(
    ("name", "keys", "near"),
    [
        ("alibi", {}, 1e-4),
        ("window", {}, 1e-4),
        ("linear", {"quantise": "int8"}, 1e-2),
        ("parallel", {"quantise": "int8"}, 1e-2),
        ("parallel", {"quantise": "int8", "lora": {"dropout": 0.1}}, 1e-2),
    ],
)
def test_a_model_with_an_attention_of_its_own_learns_in_grouped_batches(
    name: str, keys: dict[str, Any], near: float, make_job: MakeJob, prompt: Prompt, tmp_path: Path
) -> None:
    base = tiny_model(tmp_path / name, spread=0.2, dtype=torch.float32, **OWN_ATTENTION[name])
    job = make_job(of=base, layout="grouped", precision="fp32", **keys)
    outcome = finished(job)
    plain = AutoModelForCausalLM.from_pretrained(base)
    loss, tokens = 0.0, 0
    for conversation in conversations(5):
        sample = prompt.training(conversation.conversations, 64)
        ids, marked = torch.tensor([sample.ids]), torch.tensor([sample.loss_mask]).bool()
        answer = int(marked.sum())
        loss += plain(ids, labels=ids.masked_fill(~marked, -100)).loss.item() * answer
        tokens += answer
    assert outcome.dev_loss_before == pytest.approx(loss / tokens, rel=near)
    assert outcome.dev_loss < outcome.dev_loss_before - 0.3
    check_adapter(adapter(job))


@pytest.mark.parametrize("keys", [{}, {"processes": 2}, {"layout": "grouped"}, {"gradient_checkpointing": True}], ids=str)
def test_an_int8_base_changes_the_losses_little(make_job: MakeJob, keys: dict[str, Any]) -> None:
    job = make_job(precision="fp32", quantise="int8", **keys)
    finished(job)
    assert losses(job) == pytest.approx(GOLDEN, rel=0.02)
    check_adapter(adapter(job))


def without_integers() -> None:
    torch._int_mm = None  # type: ignore[assignment]


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_an_int8_base_learns_by_integer_products(make_job: MakeJob, precision: str) -> None:
    keys = {"precision": precision, "quantise": "int8"}
    assert train(make_job("other", **keys), without_integers) is None
    outcome = finished(make_job(**keys))
    assert outcome.dev_loss < outcome.dev_loss_before - 0.5


@pytest.mark.parametrize(
    "keys",
    [
        {"quantise": "nf4"},
        {"quantise": "int8", "lora": {"r": 4, "dropout": 0.1}},
        {"lora": {"r": 4, "rslora": True, "dora": True, "init": "gaussian", "dropout": 0.1}},
    ],
    ids=str,
)
def test_other_adapters_learn(make_job: MakeJob, keys: dict[str, Any]) -> None:
    job = make_job(**keys)
    outcome = finished(job)
    assert outcome.dev_loss < outcome.dev_loss_before - 0.3
    check_adapter(adapter(job))


def test_a_loss_that_is_no_number_stops_the_training_with_the_step_named(make_job: MakeJob) -> None:
    job = make_job(learning_rate=1e30, max_grad_norm=1e30)
    outcome = train(job)
    assert outcome is not None and outcome.status == "failed"
    assert "train step 3: loss" in outcome.problem or "train step 2: loss" in outcome.problem, outcome.problem
    assert "lower train.learning_rate (now 1e+30)" in outcome.problem
    assert job.checkpoints.newest_whole() == (None, [])


@pytest.mark.parametrize(("best_by", "best"), [("dev_loss", min), ("dev_accuracy", max)])
def test_patience_ends_a_training_that_gets_no_better(
    make_job: MakeJob, best_by: str, best: Callable[[list[float]], float]
) -> None:
    job = make_job(learning_rate=0.3, patience=1, schedule="constant", checks=12, best_by=best_by)
    outcome = finished(job)
    scores = {row["step"]: row[best_by] for row in read_log(job.folder / LOG) if row["step"] and best_by in row}
    assert outcome.step == len(scores) < outcome.steps == 12
    assert outcome.best_step < outcome.step
    assert scores[outcome.best_step] == getattr(outcome, best_by) == best(list(scores.values()))


def test_asked_to_stop_it_saves_and_ends_after_the_step(make_job: MakeJob) -> None:
    unbroken = make_job("unbroken")
    finished(unbroken)
    job = make_job()
    (job.folder / "stop").touch()
    outcome = train(job)
    assert outcome is not None and (outcome.status, outcome.step) == ("stopped", 1)
    (job.folder / "stop").unlink()
    job = make_job()
    assert job.resume == 1
    finished(job)
    assert (adapter(job) / WEIGHTS).read_bytes() == (adapter(unbroken) / WEIGHTS).read_bytes()


def without_deepspeed() -> None:
    worker.zero.settings = lambda params, machine: None  # type: ignore[assignment, return-value]


def test_deepspeed_silently_off_is_an_error(make_job: MakeJob) -> None:
    outcome = train(make_job(), without_deepspeed)
    assert outcome is not None and outcome.status == "failed"
    assert "DeepSpeed off, 1 process(es); expected DeepSpeed on" in outcome.problem
