"""Memory that is given back: the usual allocators keep what one step has freed while the next asks for more."""

import ctypes

import pyarrow as pa

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # names of mallopt(3), from glibc's malloc.h
LARGE = 1 << 23  # bytes: blocks of this size are mapped on their own and returned when freed; smaller ones cost too much time


def frugal() -> None:
    """Make this process return freed memory to the system. Does nothing outside glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for name, value in ((MMAP_THRESHOLD, LARGE), (TRIM_THRESHOLD, LARGE), (ARENA_MAX, 2)):
        mallopt(name, value)
    pa.set_memory_pool(pa.system_memory_pool())
