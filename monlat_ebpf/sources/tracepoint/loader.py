"""Runs the child that loads the kernel program, and takes over what it hands over."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Final

from monlat_ebpf.errors import SourceError
from monlat_ebpf.sources.tracepoint.program import HOOKS, MAPS

_LOG = logging.getLogger(__name__)

LOAD_TIMEOUT_SECONDS: Final = 60.0
"""Compiling takes half a second on an idle core; a node that boots with a hundred pods has none idle."""

_LAST_WORDS: Final = 12
_WANTED: Final = len(MAPS) + len(HOOKS)
CHILD: Final = (sys.executable, "-m", "monlat_ebpf.sources.tracepoint.child")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Descriptors of the loaded program: of the maps, in the order of MAPS, and of the attached hooks."""

    maps: tuple[int, ...]
    hooks: tuple[int, ...]

    def close(self) -> None:
        """Detach and free."""
        _close((*self.hooks, *self.maps))


def load(slots: int, *, child: Sequence[str] = CHILD, timeout_seconds: float = LOAD_TIMEOUT_SECONDS) -> Loaded:
    """Load the program for `slots` places in this process's network namespace.

    Raises SourceError with the child's last words when it fails, dies, or takes longer than
    `timeout_seconds`. `child` is the command that loads; tests give others.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, tempfile.TemporaryFile() as words:
        with theirs:
            process = subprocess.Popen(
                [*child, str(theirs.fileno()), str(slots), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                pass_fds=(theirs.fileno(),),
            )
        descriptors: list[int] = []
        try:
            ours.settimeout(timeout_seconds)
            _, descriptors, _, _ = socket.recv_fds(ours, 16, _WANTED)
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            status = process.wait(timeout_seconds)
        except (TimeoutError, subprocess.TimeoutExpired):
            _close(descriptors)
            raise SourceError(f"the loader did not finish within {timeout_seconds:g} s{_said(words)}") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if status != 0 or len(descriptors) != _WANTED:
            _close(descriptors)
            raise SourceError(f"the loader {_how_it_ended(status, len(descriptors))}{_said(words)}")
        return Loaded(tuple(descriptors[: len(MAPS)]), tuple(descriptors[len(MAPS) :]))


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _how_it_ended(status: int, descriptors: int) -> str:
    if status == 0:
        return f"handed over {descriptors} descriptors instead of {_WANTED}"
    return f"was killed by signal {-status}" if status < 0 else f"failed with status {status}"


def _said(words: IO[bytes]) -> str:
    """Return the end of what the child wrote; all of it goes to the debug log."""
    words.seek(0)
    text = words.read().decode(errors="replace").strip()
    _LOG.debug("the loader wrote:\n%s", text)
    lines = _excerpt(text.splitlines())
    return ": " + "\n".join(lines) if lines else " and said nothing"


def _excerpt(lines: list[str]) -> list[str]:
    """Return the end of `lines`. Of many complaints of the compiler the first counts, the others follow from it."""
    complaint = next((number for number, line in enumerate(lines) if ": error: " in line), len(lines))
    if complaint < len(lines) - _LAST_WORDS:
        return [*lines[complaint : complaint + 3], "...", lines[-1]]
    return lines[-_LAST_WORDS:]
