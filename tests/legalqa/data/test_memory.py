"""Freed memory goes back to the system."""

import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import gc, pyarrow as pa
from legalqa.data.memory import frugal
frugal()
assert pa.default_memory_pool().backend_name == "system"
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before = resident()
blocks = [bytearray(1 << 26) for _ in range(4)]
held = resident() - before
del blocks
gc.collect()
print(held, resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to look at")
def test_large_blocks_are_returned_when_freed() -> None:
    said = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True).stdout
    held, left = map(int, said.split())
    assert held > 190 << 20
    assert left < 20 << 20
