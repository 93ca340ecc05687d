"""A program that begins on command, so that a load can be put on it first."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from monlat_ebpf.testbed.namespace import Namespace

_WAIT = ("sh", "-c", 'read -r go && exec "$@"', "sh")
_GRACE_SECONDS = 30.0  # a limit of 5 % lets a program end as slowly as it runs


class WaitingProcess:
    """`argv` with a file for all that it prints; a context manager that ends it with all its children."""

    def __init__(self, namespace: Namespace, argv: Sequence[str]) -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- closed by __exit__
        self._process = namespace.popen(
            (*_WAIT, *argv),
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._output,
            text=True,
            process_group=0,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, seconds: float) -> str:
        """Let it begin, interrupt it after `seconds` unless it has ended, and return what it printed."""
        if self._process.stdin is None:
            raise AssertionError("a pipe was asked for")
        self._process.stdin.write("go\n")
        self._process.stdin.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_GRACE_SECONDS)
        self._output.seek(0)
        return self._output.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        with suppress(ProcessLookupError):  # all have ended, as they should
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._output.close()
