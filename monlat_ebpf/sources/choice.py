"""Opens the first source that this machine allows, and warns if that is not the first choice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.config_text import refuse
from monlat_ebpf.errors import SourceError
from monlat_ebpf.host.addresses import is_local
from monlat_ebpf.sources import AS_USUAL, Sending, Source, SourceChoice

_LOG = logging.getLogger(__name__)

_LONGEST_REASON: Final = 200
"""Characters of the label's value; the log has the whole reason."""


def open_source(
    choice: SourceChoice,
    size: TableSize,
    *,
    sending: Sending = AS_USUAL,
    before_socket: Callable[[], object] = lambda: None,
) -> tuple[Source, str]:
    """Return the source, and why it is not the first choice, in one line ("" if it is).

    `before_socket` is called before a socket source is made, because its thread keeps the rights of its maker.
    Raises SourceError: with `auto` if no source can be opened, else if the chosen one cannot. Raises ConfigError for an
    address of `sending` that is not this host's.
    """
    for address in sending.addresses:
        if address.is_multicast or not is_local(address):  # a socket can be bound to a group
            refuse(
                "source-address",
                f"{address} is no address of this host, or not usable yet; give one that `ip address` shows here",
            )
    if choice is SourceChoice.SOCKET:
        before_socket()
        return _socket(size, sending), ""
    try:
        return _tracepoint(size, sending), ""
    except SourceError as error:
        if choice is SourceChoice.TRACEPOINT:
            raise
        _LOG.warning("no tracepoint source, falling back to socket time stamps: %s", error)
        before_socket()
        return _socket(size, sending), _one_line(error)


def _tracepoint(size: TableSize, sending: Sending) -> Source:
    from monlat_ebpf.sources.tracepoint.source import TracepointSource

    return TracepointSource(size, sending)


def _socket(size: TableSize, sending: Sending) -> Source:
    from monlat_ebpf.sources.socket.source import SocketSource

    return SocketSource(size, sending=sending)


def _one_line(error: SourceError) -> str:
    """Return what fits a label: the last line, which sums up the lines of the compiler or the verifier before it."""
    return str(error).splitlines()[-1].strip()[:_LONGEST_REASON]
