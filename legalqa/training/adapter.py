"""What a training publishes: the best checkpoint's LoRA weights with all that is needed to use them and to trace them."""

import shutil
from pathlib import Path

import legalqa
from legalqa.base.identity import Identity
from legalqa.files import read_json, write_json, written_aside
from legalqa.prompt import Prompt
from legalqa.training.job import Job, Outcome, number_forms
from legalqa.training.packing import Samples

_LIBRARY = Path(legalqa.__file__).parent
_BESIDES = ("curves.py", "fits.py", "plan.py")  # they foretell or show a training
CODE = [
    *(path for path in sorted((_LIBRARY / "training").glob("*.py")) if path.name not in _BESIDES),
    *(_LIBRARY / name for name in ("prompt.py", "templates.py", "records.py")),
    *sorted((_LIBRARY.parent / "conf" / "deepspeed").glob("*.json")),
]
"""Files that shape a training: another byte in them is another training."""


def summary(train: Samples, dev: Samples, job: Job) -> str:
    """What will be trained, in two or three lines."""
    machine = job.machine
    lines = [
        f"{len(train)} samples of {train.offsets[-1] / len(train):.0f} tokens on average, {len(dev)} for dev loss; "
        f"{machine.world} process(es) of {machine.threads} thread(s), "
        f"{number_forms(job.params, machine)}, ZeRO-{job.params.zero}"
    ]
    for name, samples in (("train", train), ("dev", dev)):
        cuts = {"prompts shortened": samples.prompt_cut, "answers cut": samples.answer_cut, "dropped": samples.dropped}
        lines += [f"{name}: {len(found)} {what}, records {_some(found)}" for what, found in cuts.items() if found]
    if job.resume:
        lines.append(f"goes on from checkpoint-{job.resume}")
    elif others := job.checkpoints.unfinished_others():
        lines.append(
            "starts anew; checkpoints of trainings with other data, params, base or code are not used, and can be removed:"
        )
        lines += [f"  {folder}" for folder in others]
    return "\n".join(lines)


def _some(records: list[int], most: int = 20) -> str:
    more = f" and {len(records) - most} more" if len(records) > most else ""
    return ", ".join(map(str, records[:most])) + more


def publish(
    job: Job, outcome: Outcome, folder: Path, key: str, identity: Identity, prompt: Prompt, samples: dict[str, Samples]
) -> None:
    """Write the adapter folder: weights, config, prompt and tokenizer, training.json. Raises UserError if it can't be used."""
    from legalqa.training.lora import CONFIG, WEIGHTS, check_adapter

    best = job.checkpoints.step_folder(outcome.best_step)
    with written_aside(folder) as aside:
        aside.mkdir()
        shutil.copyfile(best / WEIGHTS, aside / WEIGHTS)
        config = read_json(best / CONFIG)
        config["base_model_name_or_path"] = identity.name
        config["target_modules"] = sorted(config["target_modules"])
        write_json(aside / CONFIG, config)
        prompt.save(aside)
        cuts = {
            name: {"samples": len(s), "prompt_cut": s.prompt_cut, "answer_cut": s.answer_cut, "dropped": s.dropped}
            for name, s in samples.items()
        }
        facts = outcome.model_dump(exclude={"status", "problem"})
        about = {"train_key": key, "base": identity.model_dump(), **facts, **cuts, "layout": job.layout}
        write_json(aside / "training.json", about)
        check_adapter(aside)
    job.checkpoints.finish()
