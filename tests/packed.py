"""A project as the stages before package leave it: tiny base, random adapter, a few test questions, their scores."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from legalqa.base.identity import Identity
from legalqa.evaluation import predictions
from legalqa.evaluation.predictions import Prediction
from legalqa.files import read_json, write_json, write_text
from legalqa.params import LoraParams
from legalqa.prompt import Prompt
from legalqa.records import Conversation, Message, write_jsonl
from legalqa.training.lora import attach
from tests.tiny import tiny_model

TRAIN_KEY = "0123456789abcdef"
QUESTIONS = ["借款不还怎么办？", "离婚时房子归谁？", "工资拖欠三个月了怎么办？", "遗嘱可以撤回吗？"]


def tiny_adapter(base: Path, folder: Path, seed: int = 0, **lora: Any) -> None:
    """An adapter of random weights for a base, with all that train leaves beside it."""
    torch.manual_seed(seed)
    model = attach(AutoModelForCausalLM.from_pretrained(base, dtype="auto"), LoraParams(**lora))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(folder)
    identity = Identity.load(base)
    config = read_json(folder / "adapter_config.json")
    config |= {"base_model_name_or_path": identity.name, "target_modules": sorted(config["target_modules"])}
    write_json(folder / "adapter_config.json", config)
    Prompt.from_base(base).save(folder)
    facts = {"dev_loss_before": 3.0, "dev_loss": 2.0, "best_step": 4, "steps": 4, "tokens": 1000}
    write_json(folder / "training.json", {"train_key": TRAIN_KEY, "base": identity.model_dump(), **facts})
    (folder / "README.md").unlink()


def write_scores(project: Path, tuned: list[float], base: list[float]) -> None:
    """reports/evaluate with one score of each test question."""
    values = {"tuned": tuned, "base": base}
    items = {arm: {"rouge_l_char": dict(zip(QUESTIONS, scores, strict=True))} for arm, scores in values.items()}
    means = {arm: sum(scores) / len(scores) for arm, scores in values.items()}
    gain = means["tuned"] - means["base"]
    lines = [
        "part,score,arm,value,low,high,questions,gain,gain_low,gain_high,verdict",
        f",rouge_l_char,base,{means['base']},1.0,99.0,4,,,,",
        f",rouge_l_char,tuned,{means['tuned']},1.0,99.0,4,{gain},1.5,40.0,better",
        "criminal,rouge_l_char,tuned,77.7,1.0,99.0,1,,,,",
    ]
    write_json(project / "reports/evaluate/items.json", items)
    answers = {
        arm: [
            Prediction(arm=arm, key=question, question=question, references=("可以起诉。",), text="可以向法院起诉，要求还款。")
            for question in QUESTIONS
        ]
        for arm in values
    }
    predictions.write(project / "reports/evaluate/predictions.jsonl", answers)
    write_json(project / "reports/evaluate/scores.json", {f"{arm}.rouge_l_char": mean for arm, mean in means.items()})
    write_json(project / "reports/evaluate/speed.json", {"base.seconds": 1.0, "tuned.seconds": 1.5})
    write_text(project / "reports/evaluate/scores.csv", "\n".join(lines) + "\n")


def packable(project: Path) -> None:
    """Fill a project folder up to the stage evaluate."""
    tiny_model(project / "models/base")
    tiny_adapter(project / "models/base", project / "models/adapter")
    write_text(project / "models/knowledge/passages.jsonl", "{}\n")
    write_text(project / "data/raw.csv", "title,question,reply,is_best\n")
    answered = [
        Conversation(
            conversations=[Message(role="user", content=question), Message(role="assistant", content="可以向法院起诉。")],
            records=[number + 1],
        )
        for number, question in enumerate(QUESTIONS)
    ]
    write_jsonl(project / "data/conversations.jsonl", answered)
    for split in ("train", "dev", "test"):
        write_jsonl(project / f"data/splits/{split}.jsonl", answered)
    write_json(project / "reports/convert/ledger.json", {"read": 5, "kept": 4, "dropped": {"too short": 1}})
    write_json(project / "reports/split/leakage.json", {"leaked": 0})
    write_scores(project, tuned=[30.0, 40.0, 50.0, 60.0], base=[10.0, 20.0, 30.0, 30.0])
