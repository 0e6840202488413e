"""A process that keeps another alive: killed in every way that happens, and told to end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

PROGRAM = """
import os, signal, sys, time
from serving.prefork import keep_alive
{before}
keep_alive("colorsys")
assert "colorsys" in sys.modules and sys.modules["bitsandbytes"] is None
print(os.getpid(), flush=True)
{then}
"""
Parent = subprocess.Popen[str]


def _start(then: str, before: str = "") -> Parent:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(before=before, then=then)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def sleeper() -> Iterator[Parent]:
    with _start("time.sleep(60)") as parent:
        yield parent
        parent.kill()


def _child(parent: Parent) -> int:
    assert parent.stdout
    return int(parent.stdout.readline())


def test_a_killed_child_is_followed_by_another(sleeper: Parent) -> None:
    first = _child(sleeper)
    os.kill(first, signal.SIGKILL)
    second = _child(sleeper)
    assert second not in (first, sleeper.pid)
    assert psutil.Process(second).ppid() == sleeper.pid
    assert not psutil.pid_exists(first)


def test_a_child_killed_again_and_again_is_not_started_without_a_pause(sleeper: Parent) -> None:
    started = time.monotonic()
    for _ in range(2):
        os.kill(_child(sleeper), signal.SIGKILL)
    _child(sleeper)
    assert time.monotonic() - started > 2.0  # a second each


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_both_end(sleeper: Parent, number: signal.Signals) -> None:
    child = _child(sleeper)
    sleeper.send_signal(number)
    assert sleeper.wait(10) == 0
    assert not psutil.pid_exists(child)
    assert sleeper.stderr
    assert sleeper.stderr.read() == ""


def test_the_child_hears_the_signal_as_it_would_alone() -> None:
    heard = "signal.signal(signal.SIGTERM, lambda *_: (print('heard', flush=True), sys.exit(0)))"
    with _start("time.sleep(60)", before=heard) as parent:
        _child(parent)
        parent.terminate()
        assert parent.stdout
        assert parent.stdout.read() == "heard\n"
        assert parent.wait(10) == 0


def test_a_child_that_ends_by_itself_is_not_followed() -> None:
    with _start("sys.exit(3)") as parent:
        _child(parent)
        assert parent.wait(10) == 3


def test_a_child_does_not_outlive_its_parent(sleeper: Parent) -> None:
    child = psutil.Process(_child(sleeper))
    sleeper.kill()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()
