"""What every stage has around its main: the clock, one message instead of a traceback, an exit code that tells the truth."""

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from legalqa.problems import UserError


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Run a stage's main. A UserError or an OSError (disk full, no permission) ends it with one message and exit code 1."""
    started = time.monotonic()
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries about each other's next versions
    try:
        yield
    except UserError as error:
        sys.exit(f"\n{name} stopped.\n{error}")
    except OSError as error:
        sys.exit(f"\n{name} stopped.\n{error.filename or 'operating system'}: {error.strerror or error}")
    print(f"{name}: done in {time.monotonic() - started:.1f} s", flush=True)
