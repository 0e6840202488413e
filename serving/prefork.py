"""The engine process has a parent that holds the libraries and starts it again at once when it was killed.

BentoML looks for dead workers every ten seconds, and one of its own making imports for ten more before it loads a model. A
child of a process that has imported them shares their memory, and begins with the model.
"""

import ctypes
import gc
import importlib
import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType

PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent ends
LEAST_LIFE_S = 1.0  # who is killed sooner is started again only after so long


def keep_alive(libraries: str) -> None:
    """Import ``libraries`` ("" for none) and fork. Returns in the child, and in each that follows one that was killed.

    The parent never returns. It hands SIGTERM and SIGINT on, and ends with a child that ends by itself or was told to.
    """
    # peft would import it with torch's compiler, for 4-bit training alone: 2 s and 50 MB. None means: not there.
    sys.modules.setdefault("bitsandbytes", None)  # type: ignore[arg-type]
    if libraries:
        with suppress(ImportError):  # the child will come to it, and say so to who asks for its health
            importlib.import_module(libraries)
    gc.collect()
    gc.freeze()  # the collector would write into every object, and so end the sharing of its memory
    parent, child, told = os.getpid(), 0, False

    def hand_on(_number: int, _frame: FrameType | None) -> None:
        nonlocal told
        told = True
        if child:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
    while not told:
        started = time.monotonic()
        child = os.fork()
        if not child:
            for number, handler in before.items():
                signal.signal(number, handler)
            if told:  # before it had handlers of its own
                signal.raise_signal(signal.SIGTERM)
            _end_with(parent)
            return
        if told:  # while it was being made
            hand_on(signal.SIGTERM, None)
        _, status = os.waitpid(child, 0)
        ended, child = child, 0
        if told:  # uvicorn, having shut down, ends by the signal that told it to
            break
        if not os.WIFSIGNALED(status):
            os._exit(os.waitstatus_to_exitcode(status))
        # Not logged: BentoML's formatter would remember for all children that this process is no service yet.
        print(f"the engine process {ended} was ended by signal {os.WTERMSIG(status)}", file=sys.stderr, flush=True)
        time.sleep(max(0.0, started + LEAST_LIFE_S - time.monotonic()))
    os._exit(0)


def _end_with(parent: int) -> None:
    """Have this process killed when its parent ends: BentoML will start another pair, on the same socket."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
