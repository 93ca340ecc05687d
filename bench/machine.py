"""Where a benchmark ran."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def machine() -> str:
    """Return processor, number of cores, kernel and distribution in one line."""
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    virtual = ", virtual" if re.search(r"^flags\s*:.*\bhypervisor\b", text, re.MULTILINE) else ""
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    processor = model[1] if model else platform.machine()
    return f"{processor}, {os.cpu_count()} cores{virtual}; Linux {platform.release()}; {system}"


def stolen_seconds() -> float:
    """Return how long the cores have waited for their host since the start (proc(5), steal)."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def waiting_seconds(process: int) -> float:
    """Return how long the main thread of `process` was ready to run and had no core (proc(5), schedstat)."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
