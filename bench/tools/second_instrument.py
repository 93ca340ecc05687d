"""The kernel's SO_TIMESTAMPING as a Tool: the second instrument that says how well the truth is known."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from bench.tools.one_shot import OneShot
from bench.tools.tool import KERNEL, Run, Sample, Task
from bench.tools.waiting_process import WaitingProcess
from monlat_ebpf.testbed.namespace import Namespace

_PROGRAM = Path(__file__).with_name("kernel_stamps.py")


class SecondInstrument:
    name = "SO_TIMESTAMPING"
    stamps = (KERNEL, KERNEL)
    renders = True  # nothing, but the truth must be known in that column, too

    def version(self) -> str:
        return ""

    @contextmanager
    def started(self, namespace: Namespace, task: Task) -> Iterator[Run]:
        command = (sys.executable, "-S", str(_PROGRAM), str(task.count), str(task.interval_seconds), *task.targets)
        with WaitingProcess(namespace, command) as process:
            yield _Process(process, task, samples_of)


class _Process(OneShot):
    def rendering(self) -> AbstractContextManager[object]:
        return nullcontext()


def samples_of(output: str) -> list[Sample]:
    """Return the lines of address, number and RTT in ns."""
    fields = (line.split() for line in output.splitlines())
    return [Sample(address, int(nth), int(rtt_ns)) for address, nth, rtt_ns in fields]
