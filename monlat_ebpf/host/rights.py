"""Which capabilities loading the kernel program takes (capabilities(7)), and which of them are missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_SYS_ADMIN: Final = 21
_NEEDED: Final[Mapping[str, int]] = {"CAP_BPF": 39, "CAP_PERFMON": 38}
"""Capability to its bit: BPF for maps and programs, PERFMON for tracepoints and for reading kernel memory."""


def missing_capabilities(effective: int) -> tuple[str, ...]:
    """Return which capabilities a process with these effective ones lacks; SYS_ADMIN stands for both."""
    if effective >> _SYS_ADMIN & 1:
        return ()
    return tuple(name for name, bit in _NEEDED.items() if not effective >> bit & 1)


def effective_capabilities(status: str) -> int:
    """Return the effective capabilities, a bit each, from the text of /proc/PID/status (proc(5))."""
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["CapEff"], 16)
