"""The system call bpf(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Mapping
from typing import Final

_NUMBER: Final[Mapping[str, int]] = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361}


def is_known() -> bool:
    """Return whether the number of the call is known for this machine."""
    return platform.machine() in _NUMBER


def bpf(command: int, attributes: ctypes.Structure | None = None) -> int:
    """Call bpf with a command and its attributes (linux/bpf.h); return its result, often a descriptor. Raises OSError.

    Without attributes the kernel sees an empty set of them.
    """
    if not is_known():
        raise OSError(errno.ENOSYS, f"the number of the system call bpf on {platform.machine()} is not known")
    libc = ctypes.CDLL(None, use_errno=True)
    size = ctypes.sizeof(attributes) if attributes is not None else 0
    pointer = ctypes.byref(attributes) if attributes is not None else None
    result: int = libc.syscall(ctypes.c_long(_NUMBER[platform.machine()]), ctypes.c_long(command), pointer, size)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
