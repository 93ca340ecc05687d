"""unshare and setns for network namespaces. Python has them since 3.12 only."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNET = 0x40000000  # linux/sched.h

_libc = ctypes.CDLL(None, use_errno=True)


def unshare_network() -> None:
    """Move the calling thread into a new network namespace. Raises OSError."""
    _check(_libc.unshare(CLONE_NEWNET), "unshare")


def enter_network(descriptor: int) -> None:
    """Move the calling thread into the network namespace that `descriptor` refers to. Raises OSError."""
    _check(_libc.setns(descriptor, CLONE_NEWNET), "setns")


def _check(status: int, name: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
