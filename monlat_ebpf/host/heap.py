"""How the C library keeps memory for the threads of this process."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

_M_ARENA_MAX: Final = -8  # malloc.h of glibc


def share_one_heap() -> None:
    """Let all threads take their memory from one heap. Call it before the first thread starts.

    glibc gives each thread a heap of its own, and most of it stays unused: 2 MiB of an agent that is scraped. Python's
    threads do not run side by side, so they hardly wait for each other there. Other C libraries have one heap anyway.
    """
    with suppress(AttributeError):  # no mallopt
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
