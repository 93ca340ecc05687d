"""A process of `monlat demo`: an agent or the collector."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Any, Final

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed.namespace import Namespace

_LAST_LINES: Final = 5


class VirtualProcess:
    """A Python module that runs in a namespace, with its log in a file that has no name.

    `name` is for messages. The process gets `descriptors` of this one, none of the variables MONLAT_, and no Ctrl-C:
    that goes to the demo alone, which still asks for the last numbers.
    """

    def __init__(
        self,
        name: str,
        namespace: Namespace,
        module: str,
        arguments: Sequence[str],
        descriptors: Sequence[int],
        **options: Any,
    ) -> None:
        self._name = name
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # close() closes it
        self.process: subprocess.Popen[bytes] = namespace.popen(
            [sys.executable, "-P", "-m", module, *arguments],
            **{
                "env": {name: value for name, value in os.environ.items() if not name.startswith("MONLAT_")},
                "stdin": subprocess.DEVNULL,
                "stdout": self._log,
                "stderr": self._log,
                "pass_fds": descriptors,
                "start_new_session": True,
                **options,
            },
        )

    def check(self) -> None:
        """Raise TestbedError with the last lines of the log if the process has ended."""
        if self.process.poll() is not None:
            raise TestbedError(f"{self._name} ended:\n{self.last_lines()}")

    def close(self) -> None:
        """End the process and wait for it."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def last_lines(self) -> str:
        """Return the end of the log."""
        self._log.seek(0)
        return "\n".join(self._log.read().decode(errors="replace").splitlines()[-_LAST_LINES:])
