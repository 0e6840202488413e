"""Speed and memory of the train stage with the base in models/base; the last line is JSON.

160 questions and answers of 140 tokens on average, half of them answer, one epoch, LoRA r=16 on all linear layers, the base in
bf16 and again in int8 (`train.quantise`); against a plain Hugging Face Trainer with padded batches, and against LLaMA-Factory
when LEGALQA_LLAMAFACTORY_PYTHON names a Python that has it.
"""

import csv
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import legalqa  # noqa: E402, F401  (the quiet environment)
from legalqa.params import TrainParams  # noqa: E402
from legalqa.prompt import Prompt  # noqa: E402
from legalqa.records import Conversation, Message  # noqa: E402
from legalqa.training.curves import read_log  # noqa: E402
from legalqa.training.job import DEV, LOG, TRAIN, Job  # noqa: E402
from legalqa.training.launch import launch  # noqa: E402
from legalqa.training.machine import detect, multiplies_int8  # noqa: E402
from legalqa.training.packing import Samples, tokenise  # noqa: E402
from legalqa.training.shapes import Shape  # noqa: E402

BASE = Path(os.environ.get("LEGALQA_BENCHMARK_BASE", ROOT / "models/base"))
PARAMS = TrainParams(epochs=1, learning_rate=2e-4, checks=1, max_length=512, pack_tokens=512)
COUNT = 160
QUESTION, ANSWER = (4.1, 0.9), (4.3, 1.0)  # middle and spread of the logarithm of the characters
WARM = 2  # first steps, not counted


def conversations() -> list[Conversation]:
    """Texts of the sample put together to log-normal lengths, fitted to the best replies of public legal forums."""
    with (ROOT / "data/sample/legal_qa.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["title"] and len(row["reply"]) > 20]
    draw = random.Random(0)

    def text(column: str, middle: float, spread: float) -> str:
        wanted = min(700, max(8, round(draw.lognormvariate(middle, spread))))  # characters
        joined = ""
        while len(joined) < wanted:
            joined += draw.choice(rows)[column]
        return joined[:wanted]

    made = []
    for _ in range(COUNT):
        question, answer = text("title", *QUESTION), text("reply", *ANSWER)
        turns = [Message(role="user", content=question), Message(role="assistant", content=answer)]
        made.append(Conversation(conversations=turns))
    return made


class PeakMemory(threading.Thread):
    """Proportional memory of this process and all below it, in GB: pages that processes share count once."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0.0
        self.done = False
        self.start()

    def run(self) -> None:
        """Look every three seconds: the look itself walks all pages, and what it walks over waits."""
        while not self.done:
            self.peak = max(self.peak, sum(map(_proportional, _family(os.getpid()))) / 1e6)
            time.sleep(3)


def _family(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += parents.get(found[-1], [])
    return found


def _proportional(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def ours(samples: Samples, prompt: Prompt, params: TrainParams = PARAMS) -> tuple[float, float]:
    """Useful tokens/s after the warm-up, and peak GB of all processes."""
    machine = detect(params.precision, params.batch)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples.save(folder / TRAIN)
        samples.first(2).save(folder / DEV)
        memory = PeakMemory()
        job = Job(params=params, machine=machine, base=BASE.resolve(), folder=folder, pad_id=prompt.pad_id)
        launch(job, lambda *_: None)
        memory.done = True
        speeds = [row["tokens_per_s"] for row in read_log(folder / LOG) if "tokens_per_s" in row][WARM:]
    return len(speeds) / sum(1 / speed for speed in speeds), memory.peak


def padded(steps: int = 8) -> float:
    """Useful tokens/s of a plain Hugging Face Trainer: padded batches of 4, loss over the whole head, all threads."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import benchmarks.training as t; t.plain_trainer({steps})"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return float(out.splitlines()[-1])


def plain_trainer(steps: int) -> None:
    """What most people would write."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        DataCollatorForSeq2Seq,
        PreTrainedTokenizerFast,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    samples = tokenise("benchmark", conversations(), Prompt.from_base(BASE), PARAMS.max_length)
    rows = []
    for index in range(len(samples)):
        ids, answer = samples.sample(index)
        rows.append(
            {"input_ids": ids.tolist(), "attention_mask": [1] * len(ids), "labels": [-100] * answer + ids[answer:].tolist()}
        )
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.bfloat16)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(BASE / "tokenizer.json"), pad_token="<|endoftext|>")
    seen: list[tuple[float, int]] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            seen.append((time.monotonic(), int(state.num_input_tokens_seen)))

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=4,
            learning_rate=2e-4,
            bf16=True,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            include_num_input_tokens_seen="non_padding",
            log_level="error",
        )
        trainer = Trainer(
            model, arguments, train_dataset=rows, data_collator=DataCollatorForSeq2Seq(tokenizer), callbacks=[Clock()]
        )
        trainer.train()
    (started, first), (ended, last) = seen[WARM - 1], seen[-1]
    print((last - first) / (ended - started))


def peak() -> float:
    """TFLOP/s of the MLP's matrix product on all processes at once, each with its threads."""
    machine = detect(PARAMS.precision, PARAMS.batch)
    shape = Shape.of(BASE, "base")
    dtype = "bfloat16" if machine.precision == "bf16" else "float32"
    code = (
        f"import time, torch; torch.set_num_threads({machine.threads}); d = torch.{dtype}\n"
        f"a, b = torch.randn(512, {shape.hidden}, dtype=d), torch.randn({shape.hidden}, {shape.ffn}, dtype=d)\n"
        "for _ in range(5): a @ b\n"
        "t, n = time.monotonic(), 0\n"
        "while time.monotonic() - t < 4:\n a @ b\n n += 1\n"
        f"print(2 * 512 * {shape.hidden} * {shape.ffn} * n / (time.monotonic() - t) / 1e12)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": str(machine.threads)}
    runs = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(machine.processes)
    ]
    return sum(float(run.communicate()[0]) for run in runs)


def llamafactory(tokens: int, **settings: Any) -> float | None:
    """Useful tokens/s of LLaMA-Factory over the same samples, after the warm-up; None when it is not installed."""
    python = os.environ.get("LEGALQA_LLAMAFACTORY_PYTHON")
    if not python:
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [{"instruction": c.question, "input": "", "output": c.answer} for c in conversations()]
        (folder / "qa.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        (folder / "dataset_info.json").write_text(json.dumps({"qa": {"file_name": "qa.json"}}), encoding="utf-8")
        chosen = {
            "model_name_or_path": str(BASE.resolve()),
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "lora_rank": 16,
            "lora_target": "all",
            "dataset": "qa",
            "dataset_dir": str(folder),
            "template": "qwen",
            "cutoff_len": 512,
            "bf16": True,
            "learning_rate": 2e-4,
            "output_dir": str(folder / "out"),
            "report_to": "none",
            "save_strategy": "no",
            "use_cpu": True,
            "logging_steps": 1,
            "include_num_input_tokens_seen": "non_padding",
            **settings,
        }
        (folder / "train.yaml").write_text(json.dumps(chosen), encoding="utf-8")
        command = [python, "-m", "llamafactory.cli", "train", str(folder / "train.yaml")]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"LLaMA-Factory ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
        lines = (folder / "out" / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "loss" in row]
    first, last = rows[WARM - 1], rows[-1]
    seconds = [row["total_tokens"] / row["throughput"] for row in (first, last)]
    learned = [row["epoch"] * tokens if settings.get("packing") else row["total_tokens"] for row in (first, last)]
    return (learned[1] - learned[0]) / (seconds[1] - seconds[0])  # packing counts the padding of its packs as tokens: by epochs


def main() -> None:
    """Measure and print."""
    prompt = Prompt.from_base(BASE)
    samples = tokenise("benchmark", conversations(), prompt, PARAMS.max_length)
    tokens = sum(samples.lengths)
    print(
        f"{len(samples)} samples of {tokens / len(samples):.0f} tokens, {os.getloadavg()[0]:.1f} load before the start",
        flush=True,
    )
    speed, memory = ours(samples, prompt)
    int8 = None
    if multiplies_int8(detect(PARAMS.precision, PARAMS.batch).device):
        int8 = ours(samples, prompt, PARAMS.model_copy(update={"quantise": "int8"}))
    plain = padded()
    matrix = peak()
    share = sum(samples.answer_tokens) / tokens
    work = Shape.of(BASE, "base").flops(PARAMS, share, tokens / len(samples)) / 1e12
    default = llamafactory(tokens, per_device_train_batch_size=4, max_steps=20)
    packs = {"packing": True, "per_device_train_batch_size": 1, "max_steps": 22}
    packed = llamafactory(tokens, **packs, disable_gradient_checkpointing=True)

    def ratio(mine: float, theirs: float | None) -> float | None:
        return round(mine / theirs, 2) if theirs else None

    result = {
        "useful_tokens_per_s": round(speed, 1),
        "padded_trainer_tokens_per_s": round(plain, 1),
        "ratio_to_padded_trainer": ratio(speed, plain),
        "ratio_to_llamafactory_default": ratio(speed, default),
        "ratio_to_llamafactory_packed": ratio(speed, packed),
        "matrix_peak_tflops": round(matrix, 3),
        "share_of_peak": round(work * speed / matrix, 3),
        "peak_gb": round(memory, 2),
    }
    if int8:
        result |= {
            "int8_useful_tokens_per_s": round(int8[0], 1),
            "int8_ratio_to_llamafactory_default": ratio(int8[0], default),
            "int8_ratio_to_llamafactory_packed": ratio(int8[0], packed),
            "int8_peak_gb": round(int8[1], 2),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
