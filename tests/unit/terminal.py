"""Run a command whose standard output is a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def in_a_terminal(command: Sequence[str], columns: int) -> str:
    """Run the command to its end; return what it wrote."""
    with started_in_a_terminal(command, columns) as (process, terminal):
        written = b""
        with contextlib.suppress(OSError):  # EIO: the last writer has closed its side
            while part := os.read(terminal, 65536):
                written += part
        assert process.wait(timeout=60) == 0
    return written.decode()


@contextmanager
def started_in_a_terminal(command: Sequence[str], columns: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Yield the running command and the descriptor of its output. Kill the command at the end."""
    terminal, inside = pty.openpty()
    termios.tcsetwinsize(inside, (50, columns))
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(command, stdout=inside, env={**kept, "TERM": "xterm-256color"})
    os.close(inside)
    try:
        yield process, terminal
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
