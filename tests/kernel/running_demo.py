"""`monlat demo` as a process, and what it must not leave behind."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Self

from testkit.waiting import wait_until
from tests.kernel.kernel_objects import Objects
from tests.kernel.leftovers import networks_in_use, networks_of, objects_of_process, processes_with

DEMO = (sys.executable, "-m", "monlat_ebpf", "demo")
RUNS = ("each node's /metrics", "the page: ")


class Traces:
    """The kernel objects of a running demo. Its processes are found by their TMPDIR."""

    def __init__(self, temporary: Path) -> None:
        self.temporary = temporary
        self.objects = Objects((), (), ())
        self.networks: set[int] = set()

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self.temporary), "TERM": "xterm"}

    def processes(self) -> set[int]:
        return processes_with(str(self.temporary))

    def record(self) -> None:
        """Record the programs, maps and network namespaces that exist now."""
        processes = self.processes()
        self.objects = objects_of_process(*processes)
        self.networks = set[int]().union(*map(networks_of, processes))
        self.networks -= networks_of(os.getpid())

    def check_gone(self) -> None:
        """Wait until all of them are gone; fail if they stay."""
        wait_until(lambda: not self.processes())
        self.objects.wait_until_gone()
        # a dying process has no environment, but its descriptors may still be open
        wait_until(lambda: not self.networks & networks_in_use())
        assert list(self.temporary.iterdir()) == []


class Terminal:
    """A demo in the foreground of a terminal, and what it has written there."""

    def __init__(self, traces: Traces, *arguments: str, columns: int = 120) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, columns))
        self.demo = subprocess.Popen(
            ["setsid", "--ctty", *DEMO, *arguments],
            env=traces.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.demo.kill()
        self.demo.wait()
        os.close(self._ours)

    def read_until(self, condition: Callable[[str], object]) -> None:
        """Read until the condition holds for all that was written."""
        while not condition(self.shown):
            self.shown += os.read(self._ours, 65536).decode(errors="replace")

    def end_by_ctrl_c(self) -> int:
        """Press Ctrl-C, which goes to all processes in the foreground; read the rest and return the exit status."""
        os.write(self._ours, b"\x03")
        with suppress(OSError):  # EIO: the last writer has closed its side
            self.read_until(lambda _: False)
        return self.demo.wait(timeout=60)


@contextmanager
def running_demo(traces: Traces, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str], str]]:
    """Yield a demo that has begun to measure, the rest of its standard error, and the line that said so."""
    with subprocess.Popen(
        [*DEMO, *arguments], env=traces.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        try:
            assert demo.stderr is not None
            began = next((line for line in demo.stderr if line.startswith(RUNS)), "")
            traces.record()
            yield demo, demo.stderr, began
        finally:
            demo.kill()
