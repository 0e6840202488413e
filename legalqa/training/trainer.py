"""Hugging Face's Trainer, told what is special here: whose batches, which loss, when to check, when to stop.

Everything is decided from values that are equal in all processes, so that they stop, save and go on together.
"""

import ctypes
import json
import math
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from legalqa.params import TrainParams
from legalqa.problems import Problem, UserError
from legalqa.training.batches import Batch, MicroBatches
from legalqa.training.job import Job
from legalqa.training.loss import AnswerLoss

TRIM_EVERY = 10  # steps after which freed memory is handed back; after each one it costs 4 % of the time, for pages made anew
METRICS = {"dev_loss": False, "dev_accuracy": True}  # what the dev split tells, and whether more of it is better


class LoraTrainer(Trainer):  # type: ignore[misc]
    """A Trainer over micro-batches laid out beforehand, with a loss normalised by the answer tokens of the whole step."""

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        train: MicroBatches,
        dev: MicroBatches,
        answer_loss: AnswerLoss,
        job: Job,
        **kwargs: Any,
    ) -> None:
        super().__init__(model=model, args=args, train_dataset=train, **kwargs)
        self.remove_callback(PrinterCallback)
        self.dev = dev
        self.answer_loss = answer_loss
        self.job = job
        self.loss_is_scaled_for_ga = True

    def _prepare_for_training(self, *arguments: Any, **keywords: Any) -> Any:
        """Every process has mapped the frozen weights from the same file: DeepSpeed's broadcast would make a copy of each."""
        from deepspeed import DeepSpeedEngine

        broadcast = DeepSpeedEngine._broadcast_model
        DeepSpeedEngine._broadcast_model = _broadcast_trainable
        try:
            return super()._prepare_for_training(*arguments, **keywords)
        finally:
            DeepSpeedEngine._broadcast_model = broadcast

    def get_train_dataloader(self) -> DataLoader[Batch]:
        """This process's micro-batches, in order."""
        return DataLoader(self.train_dataset, batch_size=1, shuffle=False, collate_fn=_only)

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> torch.Tensor:
        return batch_samples[0]["answer_tokens"].to(device)

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Answer loss over the answer tokens of the step in all processes; the factor undoes DeepSpeed's mean over them."""
        loss: torch.Tensor = _loss(model, inputs) * self.args.world_size / num_items_in_batch
        return loss

    def floating_point_ops(self, inputs: Batch) -> int:
        """Not counted: it would walk over all parameters at each micro-batch."""
        return 0

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Loss of the dev split, and the share of its answer tokens that were the likeliest word; all tokens weigh the same."""
        model = self.model_wrapped
        model.eval()
        self.answer_loss.right.zero_()
        sums = torch.zeros(3, dtype=torch.float64, device=self.args.device)
        with torch.no_grad():
            for index in range(len(self.dev)):
                batch = self._prepare_inputs(self.dev[index])
                learned = (batch["labels"] >= 0).sum()
                if learned:
                    sums[0] += _loss(model, batch)
                    sums[1] += learned
        sums[2] = self.answer_loss.right
        dist.all_reduce(sums)
        values = dict(zip(METRICS, (sums[::2] / sums[1]).tolist(), strict=True))
        self.log(values)
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, values)
        return {f"eval_{name}": value for name, value in values.items()}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Stops all processes at the first step whose numbers are no longer numbers."""
        super().log(logs, start_time)
        step = self.state.global_step
        bad = {name: logs[name] for name in ("loss", "grad_norm", "dev_loss") if name in logs and not math.isfinite(logs[name])}
        if "loss" in logs and logs["loss"] == 0:
            bad["loss"] = 0.0
        if bad:
            found = ", ".join(f"{name} {value}" for name, value in bad.items())
            fix = f"lower train.learning_rate (now {self.args.learning_rate:g}), or set train.precision: fp32"
            raise UserError(Problem(f"train step {step}", found, "a finite loss above 0", fix))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The adapter alone. Trainer's way under ZeRO-1 and 2 clones the whole base first, in every process."""
        if self.job.params.zero == 3:
            super().save_model(output_dir, _internal_call)
        else:
            self._save(output_dir)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        dist.barrier()
        if self.is_world_process_zero():
            self.job.checkpoints.seal(self.state.global_step, self.job.layout)
            self.job.checkpoints.prune(self.state.best_global_step)


def _broadcast_trainable(engine: Any) -> None:
    for parameter in engine.module.parameters():
        if parameter.requires_grad and not hasattr(parameter, "ds_status"):  # ZeRO-3 has shared its weights out already
            dist.broadcast(parameter.data, src=0)


def _only(batches: list[Batch]) -> Batch:
    return batches[0]


def _loss(model: Any, batch: Batch) -> torch.Tensor:
    loss: torch.Tensor = model(
        **{name: value for name, value in batch.items() if name != "answer_tokens"}, use_cache=False
    ).loss
    return loss


class Flow(TrainerCallback):  # type: ignore[misc]
    """When to check and save, and when to end early: patience used up, or somebody asked."""

    def __init__(self, checks: set[int], params: TrainParams, stop_file: Path) -> None:
        self.checks = checks
        self.metric, self.patience = params.best_by, params.patience
        self.stop_file = stop_file
        self.stopped = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """All processes ask process 0 whether to stop, so that they end at the same step."""
        if state.global_step in self.checks:
            control.should_evaluate = control.should_save = True
        asked = torch.tensor(int(self.stop_file.exists()))
        dist.broadcast(asked := asked.to(args.device), src=0)
        if asked.item():
            self.stopped = True
            control.should_save = control.should_training_stop = True
        if state.global_step % TRIM_EVERY == 0:
            _give_back()

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Counts from the history, which a resumed training has too."""
        values = [entry[self.metric] for entry in state.log_history if self.metric in entry and entry["step"] > 0]
        best = max if METRICS[self.metric] else min
        _give_back()
        if self.patience and values and len(values) - 1 - values.index(best(values)) >= self.patience:
            control.should_training_stop = True


def _give_back() -> None:
    """Hand freed memory back to the system: micro-batches of ever different lengths leave glibc's heap full of holes."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


class Report(TrainerCallback):  # type: ignore[misc]
    """Of process 0: the progress bar, and one JSON line a step in the log that all curves are made from."""

    def __init__(self, log: Path, train: MicroBatches, steps_per_epoch: int) -> None:
        self.log = log
        self.train = train
        self.steps_per_epoch = steps_per_epoch
        self.bar: tqdm[Any] | None = None
        self.started = 0.0
        self.shown: dict[str, str] = {}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Opens the bar, where a resumed training left off."""
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="train", unit="step", mininterval=1.0)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Starts the clock of the step."""
        self.started = time.monotonic()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        """Adds speed and memory, writes the line, moves the bar."""
        if not self.bar or not ({"loss", "dev_loss"} & logs.keys()):
            return
        line = {**logs, "step": state.global_step, "epoch": round(state.global_step / self.steps_per_epoch, 4)}
        if "loss" in logs:
            speed = self.train.tokens[state.global_step - 1] / (time.monotonic() - self.started)
            line |= {"tokens_per_s": round(speed, 1), "memory_gb": round(_memory(args.device), 3)}
            self.shown |= {"loss": f"{logs['loss']:.3f}", "tokens/s": f"{speed:.0f}"}
            self.bar.update(state.global_step - self.bar.n)
        else:
            self.shown["dev"] = f"{logs['dev_loss']:.3f}"
        self.bar.set_postfix(self.shown, refresh=True)
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, sort_keys=True) + "\n")

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Leaves the bar standing."""
        if self.bar:
            self.bar.close()


def _memory(device: torch.device) -> float:
    """GB that this process held at its peak, of the GPU or of main memory (weights mapped from the base's file included)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
