"""Runs the child that loads the kernel program, and receives the descriptors from it."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final

from monlat_ebpf.abi.layout import MAPS
from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.errors import SourceError
from monlat_ebpf.model import Family
from monlat_ebpf.sources.tracepoint.program import FILTERS, HOOKS

_LOG = logging.getLogger(__name__)

LOAD_TIMEOUT_SECONDS: Final = 60.0
"""Compiling takes half a second on an idle core, but a node that boots with a hundred pods has no idle core."""

_LAST_LINES: Final = 12
_WANTED: Final = {*MAPS, *HOOKS, *FILTERS.values()}
_NAMES_BYTES: Final = 1024
CHILD: Final = (sys.executable, "-P", "-m", "monlat_ebpf.sources.tracepoint.child")
"""-P: a directory in which root happens to be may hold a package of the same name."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Descriptors of the loaded program, by the names of its maps and attached hooks, and by the filters' families."""

    maps: Mapping[str, int]
    hooks: Mapping[str, int]
    filters: Mapping[Family, int]

    def close(self) -> None:
        """Detach and free."""
        _close((*self.hooks.values(), *self.maps.values(), *self.filters.values()))


def load(size: TableSize, *, child: Sequence[str] = CHILD, timeout_seconds: float = LOAD_TIMEOUT_SECONDS) -> Loaded:
    """Load the program in this process's network namespace.

    Raises SourceError with the last lines that the child wrote if it fails, dies, or takes longer than
    `timeout_seconds`. `child` is the command that loads; tests give others.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # in memory: the agent's root may be read-only, without a directory for temporary files
    with ours, os.fdopen(os.memfd_create("loader"), "w+b") as output:
        with theirs:
            process = subprocess.Popen(
                [*child, str(theirs.fileno()), str(size.targets), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
            )
        descriptors: list[int] = []
        try:
            ours.settimeout(timeout_seconds)
            names, descriptors, _, _ = socket.recv_fds(ours, _NAMES_BYTES, len(_WANTED))
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            status = process.wait(timeout_seconds)
        except (TimeoutError, subprocess.TimeoutExpired):
            _close(descriptors)
            raise SourceError(f"the loader did not finish within {timeout_seconds:g} s{_last_lines(output)}") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        loaded = dict(zip(names.decode().split(), descriptors, strict=False))
        if status != 0 or loaded.keys() != _WANTED:
            _close(descriptors)
            raise SourceError(f"the loader {_how_it_ended(status, len(loaded))}{_last_lines(output)}")
        return Loaded(
            {name: loaded[name] for name in MAPS},
            {name: loaded[name] for name in HOOKS},
            {family: loaded[name] for family, name in FILTERS.items()},
        )


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _how_it_ended(status: int, descriptors: int) -> str:
    if status == 0:
        return f"handed over {descriptors} descriptors instead of {len(_WANTED)}"
    return f"was killed by signal {-status}" if status < 0 else f"failed with status {status}"


def _last_lines(output: IO[bytes]) -> str:
    """Return the end of what the child wrote; all of it goes to the debug log."""
    output.seek(0)
    text = output.read().decode(errors="replace").strip()
    _LOG.debug("the loader wrote:\n%s", text)
    lines = _excerpt(text.splitlines())
    return ": " + "\n".join(lines) if lines else " and said nothing"


def _excerpt(lines: list[str]) -> list[str]:
    """Return the end of `lines`, or the first error of the compiler if that is further up: others follow from it."""
    first = next((number for number, line in enumerate(lines) if ": error: " in line), len(lines))
    if first < len(lines) - _LAST_LINES:
        return [*lines[first : first + 3], "...", lines[-1]]
    return lines[-_LAST_LINES:]
