"""How long the scheduler lets a thread run in a row, and by that how soon after it wakes."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Mapping
from typing import Final

_NUMBER: Final[Mapping[str, int]] = {"x86_64": 314, "aarch64": 274, "riscv64": 274, "ppc64le": 355}
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
"""struct sched_attr of linux/sched/types.h, its first version: size, policy, flags, nice, priority, runtime, ..."""

SLICE_NS: Final = 100_000
"""The least that the kernel takes."""


def take_short_slices() -> bool:
    """Ask for slices of SLICE_NS for the calling thread; return whether the kernel took the request.

    Of two threads that want a core the scheduler takes the one whose slice ends first (EEVDF). With the usual slice of
    some milliseconds, one that wakes up for a short piece of work may wait for the whole slice of another one. The
    thread's share of the core stays the same. Linux before 6.12 takes the request and changes nothing; a seccomp
    profile may refuse the call.
    """
    if platform.machine() not in _NUMBER:
        return False
    try:
        policy, nice = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    except OSError:  # a seccomp profile, or a C library without the first one
        return False
    if policy != os.SCHED_OTHER:
        return False
    attributes = ctypes.create_string_buffer(
        _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, nice, 0, SLICE_NS, 0, 0)
    )
    number = ctypes.c_long(_NUMBER[platform.machine()])
    done: int = ctypes.CDLL(None).syscall(number, ctypes.c_long(0), attributes, ctypes.c_long(0))
    return done == 0
