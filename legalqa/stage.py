"""What every stage has around its main: the clock, one message instead of a traceback, an exit code that tells the truth."""

import os
import select
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from legalqa.problems import UserError

STOPPED = 130  # exit code after Ctrl-C, as shells have it
NO_READER = 141  # and after the reader of a pipe has gone (`make plan | head`)

# Errors of libraries that files, servers and settings cause, by the package they come from, and what to do about them. By
# name, because no stage should import a library only to know its errors.
LIBRARIES = {
    "safetensors": "a weights file is cut or damaged: dvc repro -f base for models/base, dvc repro -f train for models/adapter",
    "mlflow": "look at the server or database that MLFLOW_TRACKING_URI names (unset: mlflow.db here), then run it again",
    "sqlalchemy": "look at the database that MLFLOW_TRACKING_URI names (unset: mlflow.db here), then run it again",
    "bentoml": "look at the BentoML store (`bentoml models list`; BENTOML_HOME says where it is), then run it again",
    "huggingface_hub": "look at the network and at base.name and base.revision in params.yaml",
}


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Run a stage's main.

    What a user, a disk, a server or a damaged file causes ends it with one message and exit code 1, Ctrl-C with 130; an error
    in the program keeps its traceback.
    """
    started = time.monotonic()
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries about each other's next versions
    try:
        yield
        print(f"{name}: done in {time.monotonic() - started:.1f} s", flush=True)
    except UserError as error:
        sys.exit(f"\n{name} stopped.\n{error}")
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            print(f"{name} stopped: nobody reads its output any more", file=sys.stderr)
            sys.exit(NO_READER)
        sys.exit(f"\n{name} stopped.\n{error.filename or 'operating system'}: {error.strerror or error}")
    except MemoryError:
        sys.exit(f"\n{name} stopped.\nnot enough memory: close other programs, or see what training needs: make plan")
    except KeyboardInterrupt:
        print(f"\n{name} stopped by Ctrl-C", file=sys.stderr)
        sys.exit(STOPPED)
    except Exception as error:
        fix = next((LIBRARIES[root] for kind in type(error).__mro__ if (root := _package(kind)) in LIBRARIES), None)
        if fix is None:
            raise
        message = " ".join(str(error).split())
        sys.exit(f"\n{name} stopped.\n{type(error).__name__}: {message}\n{fix}")


def _nobody_reads() -> bool:
    """Whether it is our own output that is closed; then Python must not try once more when it ends."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    closed = any(event & select.POLLERR for _, event in output.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return closed


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]
