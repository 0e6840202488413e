"""A checkpoint folder, own or a hub's snapshot -> a plain folder: checked, without code, without pickle."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from tqdm import tqdm
from transformers import AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from legalqa.base import chatglm3, space
from legalqa.files import read_json, write_json
from legalqa.problems import Problem, UserError

INDEX = "model.safetensors.index.json"
OLDER_TOKENIZERS = ("vocab.json", "tokenizer.model")


def write(source: Path, folder: Path) -> None:
    """Fill ``folder`` from the checkpoint in ``source``. Raises UserError with everything that is wrong with it."""
    config = _config(source)
    folder.mkdir(parents=True)
    if config.get("model_type") == "chatglm":
        chatglm3.write(source, folder)
        return
    problems = _config_problems(source, config)
    weights, weight_problems = _weights(source)
    if problems or weight_problems:
        raise UserError([*problems, *weight_problems], f"{source} can't be a base model")
    space.need(folder, sum(path.stat().st_size for path in weights))
    for path in tqdm(weights, desc="copy", unit="file"):
        shutil.copyfile(path, folder / path.name)
    write_json(folder / "config.json", {key: value for key, value in config.items() if key != "auto_map"})
    for name in (INDEX, "generation_config.json"):
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)
    _write_tokenizer(source, folder, vocabulary=config["vocab_size"])


def licence(source: Path) -> str:
    """What the model card's header says, or ""."""
    card = source / "README.md"
    header = re.match(r"---\n(.*?)\n---\n", card.read_text(encoding="utf-8"), re.DOTALL) if card.is_file() else None
    stated = re.search(r"^license: *(\S+) *$", header[1], re.MULTILINE) if header else None
    return stated[1] if stated else ""


def _config(source: Path) -> dict[str, Any]:
    if not source.is_dir():
        raise UserError(Problem(str(source), "no such folder", "a checkpoint folder", "correct base.path"))
    try:
        config = read_json(source / "config.json")
    except FileNotFoundError:
        raise UserError(
            Problem(str(source / "config.json"), "missing", "a checkpoint folder as transformers saves it")
        ) from None
    except ValueError as error:
        raise UserError(Problem(str(source / "config.json"), f"not JSON: {error}")) from None
    if not isinstance(config, dict):
        raise UserError(Problem(str(source / "config.json"), "not a JSON object"))
    return config


def _config_problems(source: Path, config: dict[str, Any]) -> list[Problem]:
    where, problems = str(source / "config.json"), []
    kind = config.get("model_type")
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        found = f"model_type {kind!r}" + (" with code of its own, which is never run" if "auto_map" in config else "")
        problems.append(Problem(where, found, "a causal language model that transformers knows by itself"))
    elif "vocab_size" not in config:  # nested, as those of models that see pictures, too
        problems.append(Problem(where, "no vocab_size", "a text model's configuration, its sizes at the top"))
    if "quantization_config" in config:
        fix = "take the original, base.source and train.lora can quantise it"
        problems.append(Problem(where, "already quantised weights", "weights in 16 or 32 bits", fix))
    return problems


def _weights(source: Path) -> tuple[list[Path], list[Problem]]:
    """The weight files, each opened: a header that promises more bytes than the file has is found here."""
    if (source / INDEX).exists():
        names = sorted(set(read_json(source / INDEX)["weight_map"].values()))
    else:
        names = sorted(path.name for path in source.glob("*.safetensors"))
    if not names:
        pickled = bool([*source.glob("*.bin"), *source.glob("*.pt"), *source.glob("*.pth")])
        found = "weights only as pickle, which can run code" if pickled else "no weights"
        fix = "load it where you trust it and save it with save_pretrained" if pickled else ""
        return [], [Problem(str(source), found, "*.safetensors", fix)]
    problems = []
    for name in names:
        try:
            with safe_open(source / name, framework="pt"):
                pass
        except FileNotFoundError:
            problems.append(Problem(str(source / name), "missing", f"it, as {INDEX} says"))
        except SafetensorError as error:
            problems.append(Problem(str(source / name), f"damaged ({error})", fix="copy or download it again"))
    return [source / name for name in names], problems


def _write_tokenizer(source: Path, folder: Path, vocabulary: int) -> None:
    """tokenizer.json as it is, or made from the older files by transformers; no code named in its config is kept."""
    if (source / "tokenizer.json").exists():
        shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
        extras = read_json(source / "tokenizer_config.json") if (source / "tokenizer_config.json").exists() else {}
    else:
        extras = _converted_tokenizer(source, folder)
    highest = max(Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab(with_added_tokens=True).values())
    if highest >= vocabulary:
        found = f"token ids up to {highest}"
        raise UserError(Problem(str(source), found, f"below {vocabulary}, the vocab_size of config.json"))
    if (source / "chat_template.jinja").exists():
        extras["chat_template"] = (source / "chat_template.jinja").read_text(encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {key: value for key, value in extras.items() if key != "auto_map"})


def _converted_tokenizer(source: Path, folder: Path) -> dict[str, Any]:
    if not any((source / name).exists() for name in OLDER_TOKENIZERS):  # transformers would make an empty one
        raise UserError(Problem(str(source), "no tokenizer", f"tokenizer.json, or one of {', '.join(OLDER_TOKENIZERS)}"))
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=True)
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    except (OSError, ValueError, AttributeError, ImportError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(Problem(str(source), f"no usable tokenizer ({reason})", "tokenizer.json")) from None
    extras: dict[str, Any] = json.loads(json.dumps(tokenizer.init_kwargs, default=str))
    return extras
