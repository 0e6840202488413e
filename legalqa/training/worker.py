"""One training process, started by torchrun: `python -m legalqa.training.worker FOLDER`."""

import logging
import os
import shutil
import signal
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from legalqa.problems import Problem, UserError
from legalqa.training import zero
from legalqa.training.job import DEV, LOG, STOP, TRAIN, Job, Outcome
from legalqa.training.launch import wait_for_end_of_launcher
from legalqa.training.packing import Samples, lay_out, plan_steps
from legalqa.training.shapes import Shape


def main(folder: Path) -> None:
    """Train one job to its end; process 0 writes the outcome. Exit code 0 for every outcome that it can name."""
    job = Job.load(folder)
    _settle(job)
    rank = int(os.environ["RANK"])
    try:
        outcome = _train(job, rank)
    except UserError as error:
        outcome = Outcome(status="failed", problem=str(error))
    if rank == 0:
        outcome.save(folder)
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def _settle(job: Job) -> None:
    """Before torch is imported: die with the launcher, take this process's cores, be quiet."""
    threading.Thread(target=_die_with_launcher, args=(job.folder,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher decides
    if job.machine.device == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
        cores = sorted(os.sched_getaffinity(0))
        first = int(os.environ["LOCAL_RANK"]) * job.machine.threads % len(cores)
        os.sched_setaffinity(0, cores[first : first + job.machine.threads])
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries about each other
    for name in ("accelerate", "bitsandbytes", "DeepSpeed", "torch.utils._pytree", "torchao", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _die_with_launcher(folder: Path) -> None:
    wait_for_end_of_launcher(folder)
    os._exit(1)


def _train(job: Job, rank: int) -> Outcome:
    import torch
    from transformers import set_seed

    from legalqa.training.batches import MicroBatches
    from legalqa.training.trainer import Flow, LoraTrainer, Report

    params, world = job.params, job.machine.world
    torch.set_num_threads(job.machine.threads)
    train, dev = Samples.load(job.folder / TRAIN), Samples.load(job.folder / DEV)
    steps = plan_steps(train.lengths, params.batch, params.epochs, params.seed)
    packed = params.layout == "packed"
    laid = lay_out(steps, train.lengths, world, params.pack_tokens, train.work(_head_share(job)))
    learn = MicroBatches(train, laid, rank, world, job.pad_id, packed)
    every = [list(range(len(dev)))]
    judge = MicroBatches(dev, lay_out(every, dev.lengths, world, params.pack_tokens), rank, world, job.pad_id, packed)

    arguments = _arguments(job, len(steps), learn.accumulation)
    set_seed(params.seed)
    model, answer_loss, trainable = _model(job)
    checks = {round(len(steps) * check / params.checks) for check in range(1, params.checks + 1)} - {0}
    flow = Flow(checks, params, job.folder / STOP)
    callbacks: list[Any] = [flow]
    if rank == 0:
        callbacks.append(Report(job.folder / LOG, learn, max(1, round(len(train) / params.batch))))
    trainer = LoraTrainer(model, arguments, learn, judge, answer_loss, job, callbacks=callbacks)
    if not trainer.is_deepspeed_enabled or trainer.args.world_size != world:
        found = f"DeepSpeed {'on' if trainer.is_deepspeed_enabled else 'off'}, {trainer.args.world_size} process(es)"
        raise UserError(Problem("train", found, f"DeepSpeed on, {world} process(es)", "start it by `dvc repro train`"))
    trainer.train(resume_from_checkpoint=str(job.checkpoints.step_folder(job.resume)) if job.resume else None)
    return _outcome(trainer.state, flow.stopped, trainable, sum(learn.tokens[: trainer.state.global_step]))


def _head_share(job: Job) -> float:
    """0 for a base whose sizes are not known: micro-batches then get the same tokens, a matter of speed alone."""
    with suppress(UserError):
        return Shape.of(job.base, str(job.base)).head_share(job.params)
    return 0.0


def _arguments(job: Job, steps: int, accumulation: int) -> Any:
    from transformers import TrainingArguments

    from legalqa.training.trainer import METRICS

    params = job.params
    arguments = TrainingArguments(
        output_dir=str(job.folder),
        deepspeed=zero.settings(params, job.machine),
        use_cpu=job.machine.device == "cpu",
        bf16=job.machine.precision == "bf16",
        seed=params.seed,
        max_steps=steps,
        per_device_train_batch_size=1,  # one micro-batch; its samples are packed inside
        gradient_accumulation_steps=accumulation,
        learning_rate=params.learning_rate,
        lr_scheduler_type=params.schedule if params.schedule != "constant" else "constant_with_warmup",
        warmup_steps=round(params.warmup * steps),
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_grad_norm,
        activation_checkpointing=params.gradient_checkpointing,
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would hide them
        eval_on_start=job.resume is None,
        save_strategy="steps",
        save_steps=steps,
        metric_for_best_model=params.best_by,
        greater_is_better=METRICS[params.best_by],
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        remove_unused_columns=False,
    )
    import deepspeed

    if job.machine.device == "cpu":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # gloo is as fast here and needs no compiler
    deepspeed.init_distributed(
        dist_backend="gloo" if job.machine.device == "cpu" else "nccl"
    )  # ZeRO-3 asks for it while loading
    return arguments


def _model(job: Job) -> tuple[Any, Any, int]:
    """The base with LoRA, the answer loss that stands for its head, and how many parameters train."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.utils import logging as hf_logging

    from legalqa.training import attention, fused, lora, loss

    hf_logging.disable_progress_bar()
    dtype = torch.bfloat16 if job.machine.precision == "bf16" else torch.float32
    attend = attention.PACKED_ATTENTION if job.params.layout == "packed" else None  # None: its own
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, bnb_4bit_use_double_quant=True
    )
    quantised = {"quantization_config": four_bit} if job.params.quantise == "nf4" else {}
    int8 = job.params.quantise == "int8"
    base = AutoModelForCausalLM.from_pretrained(
        job.base, dtype="auto" if int8 else dtype, attn_implementation=attend, **quantised
    )
    base.config.use_cache = False
    for module in base.modules():
        if hasattr(
            module, "support_avx512bf16_for_cpu"
        ):  # else the first dev loss repacks 4-bit weights so that they can't be trained
            module.support_avx512bf16_for_cpu = False
    model = lora.attach(base, job.params.lora)
    if int8:
        _to_int8(base, job)
        for parameter in base.parameters():  # only now, when the large weights are gone; rotary frequencies stay in float32
            parameter.data = parameter.data.to(dtype)
    answer_loss = loss.install(base)
    if job.machine.device == "cpu" and job.params.zero < 3:  # ZeRO-3 gathers a layer's weights in its own forward only
        fused.install(model)
    if job.params.gradient_checkpointing:
        model.enable_input_require_grads()
    trainable = sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters() if p.requires_grad)
    return model, answer_loss, trainable


def _to_int8(base: Any, job: Job) -> None:
    """One process of each host makes the int8 weights, from a copy of the base that then goes; all map the same files."""
    import torch.distributed as dist
    from transformers import AutoModelForCausalLM

    from legalqa.training import int8

    local = int(os.environ["LOCAL_RANK"])
    folder = job.folder / f"int8-{int(os.environ['RANK']) - local}"
    if local == 0:
        shutil.rmtree(folder, ignore_errors=True)  # what a killed one left
        folder.mkdir()
        int8.write(AutoModelForCausalLM.from_pretrained(job.base, dtype="auto"), folder)
    dist.barrier()
    int8.install(base, folder)
    dist.barrier()
    if local == 0:
        shutil.rmtree(folder)  # what is mapped stays


def _outcome(state: Any, stopped: bool, trainable: int, tokens: int) -> Outcome:
    dev = {entry["step"]: entry for entry in state.log_history if "dev_loss" in entry}
    best = state.best_global_step or state.global_step
    before, after = dev.get(0, {}), dev.get(best, {})
    return Outcome(
        status="stopped" if stopped and state.global_step < state.max_steps else "finished",
        step=state.global_step,
        steps=state.max_steps,
        best_step=best,
        dev_loss_before=before.get("dev_loss", 0.0),
        dev_loss=after.get("dev_loss", 0.0),
        dev_accuracy_before=before.get("dev_accuracy", 0.0),
        dev_accuracy=after.get("dev_accuracy", 0.0),
        trainable=trainable,
        tokens=tokens,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
