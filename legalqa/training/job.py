"""What the stage hands to the training processes and what they hand back: files in the folder of the train_key."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from legalqa.files import read_json, write_json
from legalqa.params import TrainParams
from legalqa.problems import Problem, UserError
from legalqa.training import zero
from legalqa.training.checkpoints import Checkpoints
from legalqa.training.machine import PROCESSES, Machine, detect, multiplies_int8
from legalqa.training.packing import Samples

JOB, OUTCOME, LOG, STOP = "job.json", "outcome.json", "log.jsonl", "stop"
TRAIN, DEV = "train.npz", "dev.npz"


class Job(BaseModel):
    """One training, as every process reads it. ``resume`` is the step of the checkpoint to go on from."""

    model_config = ConfigDict(frozen=True)

    params: TrainParams
    machine: Machine
    base: Path
    folder: Path
    pad_id: int
    resume: int | None = None

    @property
    def layout(self) -> dict[str, str | int]:
        """What a checkpoint and the bytes of an adapter depend on besides the train_key."""
        return self.machine.layout | {"quantise": self.params.quantise}

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of this training."""
        return Checkpoints(self.folder)

    def save(self) -> None:
        """Write job.json."""
        write_json(self.folder / JOB, self.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path) -> "Job":
        """Read what `save` wrote."""
        return cls.model_validate_json((folder / JOB).read_text(encoding="utf-8"))


class Outcome(BaseModel):
    """How a training ended, written by process 0."""

    model_config = ConfigDict(frozen=True)

    status: Literal["finished", "stopped", "failed"]
    problem: str = ""
    step: int = 0
    steps: int = 0
    best_step: int = 0
    dev_loss_before: float = 0.0
    dev_loss: float = 0.0
    dev_accuracy_before: float = 0.0
    dev_accuracy: float = 0.0
    trainable: int = 0
    tokens: int = 0

    def save(self, folder: Path) -> None:
        """Write outcome.json."""
        write_json(folder / OUTCOME, self.model_dump())

    @classmethod
    def load(cls, folder: Path) -> "Outcome | None":
        """Read what `save` wrote, or None."""
        path = folder / OUTCOME
        return cls.model_validate(read_json(path)) if path.exists() else None


def settled(params: TrainParams, machine: Machine) -> TrainParams:
    """The params with what ``quantise: auto`` means here: int8 where that is faster and can be.

    Raises UserError for settings that contradict each other or the machine, before anything is started.
    """
    zero.settings(params, machine)
    if params.quantise == "auto":
        # Host 0 decides for all hosts, and another's processor may be of another kind.
        alone = multiplies_int8(machine.device) and machine.hosts == 1
        int8 = alone and params.zero < 3 and not params.lora.dora
        return params.model_copy(update={"quantise": "int8" if int8 else "none"})
    if params.quantise == "int8" and not multiplies_int8(machine.device):
        on, why = "a processor without VNNI", "integer products take 16 times as long as fp32 ones there"
        if machine.device == "cuda":
            on, why = "a GPU", "int8 is for processors with VNNI"
        raise UserError(Problem("train.quantise", f"int8 on {on}", f"none or nf4: {why}", "set quantise: auto"))
    return params


def number_forms(params: TrainParams, machine: Machine) -> str:
    """In what numbers it computes, and keeps the base where those differ, in words."""
    return machine.precision + ("" if params.quantise == "none" else f", base in {params.quantise}")


def refuse_unfit(params: TrainParams, base: Path) -> None:
    """Raises UserError for a base that can't be trained in this way, by its config."""
    from transformers import AutoConfig  # and what comes with it: not for the processes that only read a job

    from legalqa.base.attention import own_attention

    config = base / "config.json"
    problems = []
    if params.layout == "packed" and (why := own_attention(base, params.max_length)):
        problems.append(Problem("train.layout", f"packed, and a base of {why}", "grouped", "set layout: grouped"))
    if cap := getattr(AutoConfig.from_pretrained(base, local_files_only=True).get_text_config(), "final_logit_softcapping", 0):
        wanted = "none: the loss is computed without the model's head"
        problems.append(Problem(f"{config}: final_logit_softcapping", f"{cap:g}", wanted, "take another base"))
    if problems:
        raise UserError(problems)


def prepare(key: str, params: TrainParams, base: Path, pad_id: int, splits: Mapping[str, Samples]) -> Job:
    """Make the job: machine, folder, token ids for the processes, and the checkpoint to go on from, if there is one.

    On another host than the first nothing is written: its processes read what host 0 wrote, in the same (shared) folder.
    A checkpoint belongs to its number of processes and its dtype, so these are taken from it; raises UserError when the
    environment or the device says otherwise.
    """
    checkpoints = Checkpoints.of(key)
    machine = detect(params.precision, max(1, min(params.batch, len(splits[TRAIN]))))
    params = settled(params, machine)
    refuse_unfit(params, base)
    job = Job(params=params, machine=machine, base=base.resolve(), folder=checkpoints.folder, pad_id=pad_id)
    if machine.host_rank:
        return job
    checkpoints.start()
    resume, troubles = checkpoints.newest_whole()
    for trouble in troubles:
        print(trouble, flush=True)
    if resume is not None and (made_with := checkpoints.layout(resume)) != job.layout:
        processes = {"processes": made_with["processes"] // machine.hosts, "threads": made_with["threads"]}
        fixed = job.model_copy(update={"machine": machine.model_copy(update=processes)})
        if fixed.layout != made_with or os.environ.get(PROCESSES):
            other = [name for name, value in fixed.layout.items() if made_with.get(name) != value]
            go_on = f"unset {PROCESSES}"
            if other:
                go_on = f"go on where {' and '.join(other)} can be the same"
            fix = f"{go_on}, or remove {checkpoints.folder} to start anew"
            raise UserError(Problem(f"checkpoint-{resume}", f"made with {made_with}", f"{job.layout} as now", fix))
        job = fixed
    for name, samples in splits.items():
        samples.save(checkpoints.folder / name)
    return job.model_copy(update={"resume": resume})
