"""What a process has used until now, read from the kernel."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_WAKE_UPS = re.compile(r"^voluntary_ctxt_switches:\s+(\d+)$", re.MULTILINE)
_MAP = re.compile(r"^map_id:\s+(\d+)$", re.MULTILINE)
_MAP_BYTES = re.compile(r"^memlock:\s+(\d+)$", re.MULTILINE)
_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED of a whole process, linux/posix-timers.h


@dataclass(frozen=True)
class Moment:
    """Processes at one time: monotonic seconds, ns on a processor, and how often each thread gave its core up."""

    at: float
    processor_ns: int
    wake_ups: Mapping[int, int]

    @classmethod
    def of(cls, *processes: int) -> Self:
        """Return the moment, of processes that exist; one that has ended and was not waited for still has its clock."""
        wake_ups = {thread: count for each in processes for thread, count in wake_ups_by_thread(each).items()}
        return cls(time.monotonic(), sum(map(processor_ns, processes)), wake_ups)


def processor_ns(process: int) -> int:
    """Return how long all threads of a process have run, those that have ended included, in ns.

    The kernel's clock of the process (clock_getcpuclockid(3)) counts what its scheduler counts: also the softirqs that
    run while the process is on the core. On a veth wire these are the driver, the peer's stack and the reply's way.
    """
    return time.clock_gettime_ns(~process << 3 | _PROCESS_CLOCK)


def wake_ups_by_thread(process: int) -> dict[int, int]:
    """Return how often each thread waited and was woken: its voluntary context switches (proc(5))."""
    found = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            text = (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):  # the thread has just ended
            continue
        if matched := _WAKE_UPS.search(text):
            found[int(task.name)] = int(matched[1])
    return found


def wake_ups_between(earlier: Mapping[int, int], later: Mapping[int, int]) -> int:
    """Return the wake-ups of the threads that are alive at the end; those of ended ones are not known any more."""
    return sum(count - earlier.get(thread, 0) for thread, count in later.items())


def map_bytes(process: int) -> int:
    """Return the kernel's memory of the BPF maps whose descriptors the process holds, each map once.

    0 when it holds none: a process may map the memory and close the descriptors.
    """
    found: dict[str, int] = {}
    for file in Path(f"/proc/{process}/fdinfo").iterdir():
        try:
            text = file.read_text()
        except FileNotFoundError:  # closed meanwhile
            continue
        if (identifier := _MAP.search(text)) and (size := _MAP_BYTES.search(text)):
            found[identifier[1]] = int(size[1])
    return sum(found.values())
