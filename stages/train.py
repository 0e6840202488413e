"""data/splits/{train,dev}.jsonl, models/base -> models/adapter, reports/train/{loss.csv,loss.png}"""

from pathlib import Path

from legalqa import tracking
from legalqa.base.identity import Identity
from legalqa.params import TrainParams, load_params
from legalqa.prompt import Prompt
from legalqa.provenance import train_key
from legalqa.records import read_jsonl
from legalqa.stage import stage
from legalqa.training import adapter, curves
from legalqa.training.job import DEV, LOG, TRAIN, prepare
from legalqa.training.launch import join, launch
from legalqa.training.packing import tokenise

BASE = Path("models/base")
SPLITS = [Path("data/splits/train.jsonl"), Path("data/splits/dev.jsonl")]
ADAPTER = Path("models/adapter")
REPORT = Path("reports/train")


def main(params: TrainParams) -> None:
    """LoRA under DeepSpeed: goes on from the last whole checkpoint of the same training, publishes the best one."""
    identity = Identity.load(BASE)
    prompt = Prompt.from_base(BASE, params.system)
    train, dev = (tokenise(path.stem, read_jsonl(path), prompt, params.max_length) for path in SPLITS)
    key = train_key(params.model_dump(), identity.model_dump(), SPLITS, adapter.CODE)
    job = prepare(key, params, BASE, prompt.pad_id, {TRAIN: train, DEV: dev})
    print(adapter.summary(train, dev, job))
    if job.machine.host_rank:
        join(job)
        print(f"host {job.machine.host_rank} has done its part; host 0 publishes")
        return

    tags = {"base": identity.name, "base.sha256": identity.sha256} | {name: str(value) for name, value in job.layout.items()}
    with tracking.train_run(key, params.model_dump(), tags, SPLITS) as run:
        outcome = launch(job, run.log)
        rows = curves.read_log(job.folder / LOG)
        curves.write_csv(rows, REPORT / "loss.csv")
        curves.write_png(rows, REPORT / "loss.png")
        adapter.publish(job, outcome, ADAPTER, key, identity, prompt, {"train": train, "dev": dev})
        run.artifact(REPORT / "loss.png")
        run.artifact(ADAPTER, "adapter")
    accuracy = f"{outcome.dev_accuracy_before:.1%} -> {outcome.dev_accuracy:.1%} of the answer tokens guessed"
    print(f"dev loss {outcome.dev_loss_before:.4f} -> {outcome.dev_loss:.4f}, {accuracy}")
    print(f"best by {params.best_by}: step {outcome.best_step} of {outcome.steps}, in {ADAPTER}")


if __name__ == "__main__":
    with stage("train"):
        params = load_params()
        main(params.train)
