"""Does transformers find every weight of the model in the folder, and can its attention be exchanged? Asked without weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from legalqa.problems import Problem, UserError

SHOWN = 5


def check(folder: Path) -> None:
    """Raise UserError when the checkpoint lacks weights that its config asks for, or has them in other shapes, or when the
    model's attention can't be exchanged.

    Of weights transformers itself only warns, and goes on with random numbers in their place.
    """
    try:
        with _quiet():
            model, info = AutoModelForCausalLM.from_pretrained(
                folder, device_map="meta", output_loading_info=True, ignore_mismatched_sizes=True, local_files_only=True
            )
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())
        raise UserError(Problem(str(folder / "config.json"), f"transformers can't build the model: {reason}")) from None
    missing = sorted(info["missing_keys"])
    shapes = sorted(f"{name} {tuple(stored)} instead of {tuple(wanted)}" for name, stored, wanted in info["mismatched_keys"])
    problems = [Problem("config.json and weights", f"{len(missing)} missing: {_some(missing)}")] if missing else []
    problems += [Problem("config.json and weights", f"{len(shapes)} of another shape: {_some(shapes)}")] if shapes else []
    if problems:
        raise UserError(problems, "the weights do not belong to the config")
    if problem := attention_problem(model):
        raise UserError(problem)


def attention_problem(model: Any) -> Problem | None:
    """Why the attention of training and service, which sees a whole sequence and nothing else, can't take the place of its own.

    A model that has it built in would not notice, and read the questions of several users as one text.
    """
    kind = f"model_type {model.config.model_type!r}"
    wanted = "a model with full attention in all layers, which transformers lets be exchanged, such as Qwen, Llama or GLM"
    if other := set(getattr(model.config, "layer_types", None) or []) - {"full_attention"}:
        return Problem("config.json", f"{kind}, with layers of kind {', '.join(sorted(other))}", wanted)
    if not model._supports_attention_backend:
        return Problem("config.json", f"{kind}, whose attention is built into its code", wanted)
    return None


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


@contextmanager
def _quiet() -> Iterator[None]:
    """No bar and no report of transformers' own: what is wrong is said here, once."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
