"""The slice of a thread as the kernel itself shows it (/proc/PID/sched, with CONFIG_SCHED_DEBUG)."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys

SHOW = """
import os
from pathlib import Path
from monlat_ebpf.host.time_slice import take_short_slices
os.nice(3)
print(take_short_slices())
shown = Path("/proc/thread-self/sched")
print(shown.read_text() if shown.exists() else "")
print("nice", os.getpriority(os.PRIO_PROCESS, 0))
"""


def test_slice_is_short_and_nice_stays() -> None:
    """From Linux 6.12 on, a slice of 0.1 ms instead of the usual one; the niceness of 3 stays."""
    shown = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("True\n")
    slices = re.findall(r"^se\.slice\s+:\s+(\d+)$", shown, re.MULTILINE)
    version = tuple(map(int, platform.release().split(".")[:2]))
    if version >= (6, 12) and slices:  # else the kernel has no such slice, or does not show it
        assert slices == ["100000"]
    assert shown.endswith("nice 3\n")


def test_another_policy_is_left_alone() -> None:
    """A thread that its operator made SCHED_BATCH stays so."""
    code = (
        "import os; from monlat_ebpf.host.time_slice import take_short_slices\n"
        "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))\n"
        "print(take_short_slices(), os.sched_getscheduler(0))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == f"False {os.SCHED_BATCH}\n"
