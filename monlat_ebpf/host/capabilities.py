"""Which capabilities(7) this process holds, which it lacks to load a kernel program, and how to drop them."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

# linux/capability.h; a newer capability is shown as CAP_<number>
_NAMES: Final = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID"),
    *("CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST"),
    *("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO"),
    *("CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE"),
    *("CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE"),
    *("CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM"),
    *("CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"),
)
_NEEDED_TO_LOAD: Final = ("CAP_BPF", "CAP_PERFMON")
"""BPF for maps and programs, PERFMON for tracepoints and for reading kernel memory."""

_VERSION: Final = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two words of 32 bits each
_SETS: Final = struct.Struct("=6I")  # effective, permitted, inheritable; the low words, then the high ones
_PR_SET_NO_NEW_PRIVS: Final = 38


def names_of(mask: int) -> tuple[str, ...]:
    """Return the names of the capabilities in `mask` (one bit each), in the kernel's order."""
    numbers = (number for number in range(mask.bit_length()) if mask >> number & 1)
    return tuple(_NAMES[number] if number < len(_NAMES) else f"CAP_{number}" for number in numbers)


def mask_of(names: Iterable[str]) -> int:
    """Return the mask of `names`. Raises ValueError for an unknown name."""
    wanted = set(names)
    if unknown := wanted.difference(_NAMES):
        raise ValueError(f"no such capability: {', '.join(sorted(unknown))}")
    return sum(1 << _NAMES.index(name) for name in wanted)


def effective(status: str | None = None) -> int:
    """Return the effective capabilities as a mask.

    `status` is the text of /proc/PID/status (proc(5)). None reads the calling thread's.
    """
    text = Path("/proc/thread-self/status").read_text(encoding="ascii", errors="replace") if status is None else status
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(fields["CapEff"], 16)


def missing_to_load(effective: int) -> tuple[str, ...]:
    """Return which capabilities the mask `effective` lacks to load the kernel program. SYS_ADMIN replaces both."""
    held = names_of(effective)
    return () if "CAP_SYS_ADMIN" in held else tuple(name for name in _NEEDED_TO_LOAD if name not in held)


def keep_only(names: Iterable[str]) -> tuple[str, ...]:
    """Drop every capability but `names` in this thread and the threads it starts later; return what is left.

    Never add a capability. Set no_new_privs, so that programs run later gain none either. Raises OSError.
    """
    library = ctypes.CDLL(None, use_errno=True)
    _check(library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    header = struct.pack("=Ii", _VERSION, 0)
    held = ctypes.create_string_buffer(_SETS.size)
    _check(library.capget(header, held))  # the agent runs without /proc, too
    low_held, _, _, high_held, _, _ = _SETS.unpack(held.raw)
    kept = (high_held << 32 | low_held) & mask_of(names)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    _check(library.capset(header, _SETS.pack(low, low, 0, high, high, 0)))
    return names_of(kept)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
