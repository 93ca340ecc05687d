"""Opens the first source that this machine allows, and warns if that is not the first choice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.errors import SourceError
from monlat_ebpf.sources import Source, SourceChoice, do_nothing

_LOG = logging.getLogger(__name__)

_LONGEST_REASON: Final = 200
"""Characters of the label's value; the log has the whole reason."""


def open_source(
    choice: SourceChoice, size: TableSize, *, when_opened: Callable[[], object] = do_nothing
) -> tuple[Source, str]:
    """Return the source, and why it is not the first choice, in one line ("" if it is).

    `when_opened` is called once, when the source needs no more rights: all its sockets are open, and it has no thread
    yet, because a thread keeps the rights of its maker. Raises SourceError: with `auto` if no source can be opened,
    else if the chosen one cannot.
    """
    if choice is SourceChoice.SOCKET:
        return _socket(size, when_opened), ""
    try:
        source = _tracepoint(size)
    except SourceError as error:
        if choice is SourceChoice.TRACEPOINT:
            raise
        _LOG.warning("no tracepoint source, falling back to socket time stamps: %s", error)
        return _socket(size, when_opened), _one_line(error)
    try:
        when_opened()
    except BaseException:
        source.close()
        raise
    return source, ""


def _tracepoint(size: TableSize) -> Source:
    from monlat_ebpf.sources.tracepoint.source import TracepointSource

    return TracepointSource(size)


def _socket(size: TableSize, when_opened: Callable[[], object]) -> Source:
    from monlat_ebpf.sources.socket.source import SocketSource

    return SocketSource(size, when_opened=when_opened)


def _one_line(error: SourceError) -> str:
    """Return what fits a label: the last line, which sums up the lines of the compiler or the verifier before it."""
    return str(error).splitlines()[-1].strip()[:_LONGEST_REASON]
