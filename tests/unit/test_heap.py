"""One heap for all threads, as the C library itself counts its heaps."""

from __future__ import annotations

import subprocess
import sys

THREAD_TAKES_MEMORY = """
import ctypes, threading
from monlat_ebpf.host.heap import share_one_heap
{}
library = ctypes.CDLL(None)
thread = threading.Thread(target=lambda: library.malloc(1000))
thread.start()
thread.join()
library.malloc_stats()
"""


def heaps_after(call: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", THREAD_TAKES_MEMORY.format(call)], capture_output=True, text=True, check=True
    )
    return done.stderr.count("Arena ")


def test_threads_share_one_heap() -> None:
    """malloc_stats(3) names each arena: without the call, a thread that takes memory makes a second one."""
    assert (heaps_after(""), heaps_after("share_one_heap()")) == (2, 1)
