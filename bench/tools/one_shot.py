"""The programs of the shell: iputils ping, one process a target, and fping, one process for all."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.tools.tool import KERNEL, TIMEOUT_SECONDS, USER, NoMetrics, Run, Sample, Task
from bench.tools.waiting_process import WaitingProcess
from monlat_ebpf.testbed.namespace import Namespace

_EACH_IN_THE_BACKGROUND = 'program=$1; shift; for target in "$@"; do $program "$target" & done; wait'
_PING_REPLY = re.compile(r"from (\S+): icmp_seq=(\d+) .*time=([\d.]+) ms")
_FPING_TARGET = re.compile(r"^(\S+)\s*:((?: +(?:[\d.]+|-))+)$", re.MULTILINE)


class Ping:
    name = "ping"
    stamps = (USER, KERNEL)
    renders = False

    def version(self) -> str:
        return subprocess.run(("ping", "-V"), capture_output=True, text=True, check=True).stdout.split()[3]

    @contextmanager
    def started(self, namespace: Namespace, task: Task) -> Iterator[Run]:
        wait = f"-W {TIMEOUT_SECONDS:g} -w {math.ceil(task.seconds)}"
        program = f"ping -n -c {task.count} -i {task.interval_seconds} {wait}"
        command = (*program.split(), *task.targets)
        if len(task.targets) > 1:
            command = ("sh", "-c", _EACH_IN_THE_BACKGROUND, "sh", program, *task.targets)
        with WaitingProcess(namespace, command) as process:
            yield OneShot(process, task, replies_of_ping)


class Fping:
    name = "fping"
    stamps = (USER, KERNEL)
    renders = False

    def version(self) -> str:
        return subprocess.run(("fping", "-v"), capture_output=True, text=True, check=True).stdout.split()[2]

    @contextmanager
    def started(self, namespace: Namespace, task: Task) -> Iterator[Run]:
        period = task.interval_seconds * 1e3
        spacing = max(period / len(task.targets), 1)  # its own least; its default of 10 ms makes 200 targets take 2 s
        options = f"-q -C {task.count} -p {period:g} -i {spacing:g} -t {TIMEOUT_SECONDS * 1e3:g}"
        with WaitingProcess(namespace, ("fping", *options.split(), *task.targets)) as process:
            yield OneShot(process, task, replies_of_fping)


@dataclass(frozen=True)
class OneShot(NoMetrics):
    """A program that does its task, prints what it found and ends."""

    process: WaitingProcess
    task: Task
    replies_of: Callable[[str], Sequence[Sample]]
    printed: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    def work(self) -> None:
        self.printed.append(self.process.run(self.task.seconds))

    def samples(self) -> list[Sample]:
        return list(self.replies_of("".join(self.printed)))


def replies_of_ping(output: str) -> list[Sample]:
    """Return what ping's lines say; it counts from 1."""
    replies = _PING_REPLY.findall(output)
    return [Sample(address, int(sequence) - 1, round(float(ms) * 1e6)) for address, sequence, ms in replies]


def replies_of_fping(output: str) -> list[Sample]:
    """Return what fping's lines of `address : ms ms - ms` say, where `-` is a lost probe."""
    return [
        Sample(address, nth, round(float(ms) * 1e6))
        for address, times in _FPING_TARGET.findall(output)
        for nth, ms in enumerate(times.split())
        if ms != "-"
    ]
