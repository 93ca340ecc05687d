"""A process in a namespace that obeys commands: one a line, and a line of JSON answers each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from bench.ended import Ended
from monlat_ebpf.testbed.namespace import Namespace

_ROOT: Final = Path(__file__).resolve().parent.parent


class CommandedProcess(Ended):
    """The process, seen from outside: a context manager; `ask` from one thread. It is killed at the end.

    `module` is run with `arguments`. `ready` is a command that it answers once all is loaded.
    """

    def __init__(self, namespace: Namespace, module: str, *arguments: str, ready: str) -> None:
        self._module = module
        self._ready = ready
        self._process = namespace.popen(
            [sys.executable, "-m", module, *arguments],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, command: str) -> Any:
        """Return the answer to `command`. Raises RuntimeError when the process has ended."""
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("the process has no pipes")
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process {self._module} died: its error is above")
        return json.loads(answer)

    def _begin(self) -> None:
        self.ask(self._ready)

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()
