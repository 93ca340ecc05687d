"""Loads for a process that measures: busy cores, and a cgroup with little of one core."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.ended import Ended
from testkit.waiting import wait_until

KUBERNETES_PERIOD_US = 100_000  # the CFS period of kubelet's CPU limits

_ENDLESS = (sys.executable, "-S", "-c", "while True: pass")
_UNDER_WAY_NS = 20_000_000  # of processor time: the interpreter has started


def processor_time_ns(process: int) -> int:
    """Return how long the threads of `process` have run on a core, in ns (proc(5), schedstat)."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{process}/task").glob("*/schedstat"))


class BusyProcesses(Ended):
    """`count` processes that compute without end; a context manager. They end with the thread that started them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.processes: list[subprocess.Popen[bytes]] = []

    def _begin(self) -> None:
        command = ("setpriv", "--pdeathsig", "KILL", "--", *_ENDLESS)
        for _ in range(self._count):
            self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        wait_until(
            lambda: all(processor_time_ns(busy.pid) > _UNDER_WAY_NS for busy in self.processes),
            "the busy processes do not run",
        )

    def _end(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self.processes.clear()


def saturation() -> BusyProcesses:
    """Return more busy processes than there are cores."""
    return BusyProcesses((os.cpu_count() or 1) + 2)


class ProcessorLimit:
    """A cgroup of version 1 or 2 that grants `share` of one core; a context manager that removes it again.

    Raises OSError where this machine's cgroups do not allow it, RuntimeError where it has none.
    """

    def __init__(self, share: float, period_us: int = KUBERNETES_PERIOD_US) -> None:
        self._quota_us = int(share * period_us)
        self._period_us = period_us

    def __enter__(self) -> Self:
        self._version, mount = _processor_cgroups()
        own = mount / _own_cgroup(self._version).lstrip("/")
        self._outside = own if own.is_dir() else mount  # of a container's mount, that path may be another
        self._directory = mount / f"monlat-bench-{os.getpid()}-{time.monotonic_ns()}"
        if self._version == 2:
            (mount / "cgroup.subtree_control").write_text("+cpu")
        self._directory.mkdir()
        try:
            if self._version == 2:
                (self._directory / "cpu.max").write_text(f"{self._quota_us} {self._period_us}")
            else:
                (self._directory / "cpu.cfs_period_us").write_text(str(self._period_us))
                (self._directory / "cpu.cfs_quota_us").write_text(str(self._quota_us))
        except BaseException:
            self._directory.rmdir()
            raise
        return self

    def add(self, process: int) -> None:
        """Put a process, with all its threads, under the limit."""
        (self._directory / "cgroup.procs").write_text(str(process))

    @property
    def times_throttled(self) -> int:
        """Periods in which the limit was reached."""
        fields = dict(line.split() for line in (self._directory / "cpu.stat").read_text().splitlines())
        return int(fields["nr_throttled"])

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for process in (self._directory / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):  # it ended meanwhile
                (self._outside / "cgroup.procs").write_text(process)
        self._directory.rmdir()


class SharedLimit:
    """A ProcessorLimit on `process` and one busy process beside it, so that the limit is always reached."""

    def __init__(self, process: int, share: float, period_us: int = KUBERNETES_PERIOD_US) -> None:
        self._process = process
        self.limit = ProcessorLimit(share, period_us)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            (busy,) = stack.enter_context(BusyProcesses(1)).processes
            stack.enter_context(self.limit)  # entered last, left first: a process in it keeps a cgroup alive
            self.limit.add(busy.pid)
            wait_until(lambda: self.limit.times_throttled > 0, "the cgroup never throttles")
            self.limit.add(self._process)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stack.close()


def _processor_cgroups() -> tuple[int, Path]:
    """Return the version and the mount point of the cgroups that have the cpu controller."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            return 1, Path(mount)
        if kind == "cgroup2" and "cpu" in (Path(mount) / "cgroup.controllers").read_text().split():
            return 2, Path(mount)
    raise RuntimeError("no cgroups with the cpu controller are mounted: mount -t cgroup2 none /sys/fs/cgroup")


def _own_cgroup(version: int) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if (version == 2 and not controllers) or (version == 1 and "cpu" in controllers.split(",")):
            return path
    raise RuntimeError("/proc/self/cgroup does not say where this process is")
