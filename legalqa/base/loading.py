"""Does transformers find every weight of the model in the folder? Asked without loading them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from legalqa.problems import Problem, UserError

SHOWN = 5


def check(folder: Path) -> None:
    """Raise UserError when the checkpoint lacks weights that its config asks for, or has them in other shapes.

    transformers itself only warns, and goes on with random numbers in their place.
    """
    try:
        with _quiet():
            _, info = AutoModelForCausalLM.from_pretrained(
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
