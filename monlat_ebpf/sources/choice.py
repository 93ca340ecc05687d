"""Opens the first source that this machine allows, and warns if that is not the first choice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.config_text import refuse
from monlat_ebpf.errors import SourceError
from monlat_ebpf.host.addresses import is_local
from monlat_ebpf.sources import AS_USUAL, Sending, Source, SourceChoice, do_nothing

_LOG = logging.getLogger(__name__)

_LONGEST_REASON: Final = 200
"""Characters of the label's value; the log has the whole reason."""


def open_source(
    choice: SourceChoice,
    size: TableSize,
    *,
    sending: Sending = AS_USUAL,
    when_opened: Callable[[], object] = do_nothing,
) -> tuple[Source, str]:
    """Return the source, and why it is not the first choice, in one line ("" if it is).

    `when_opened` is called once, when the source needs no more rights: all its sockets are open, and it has no thread
    yet, because a thread keeps the rights of its maker. Raises SourceError: with `auto` if no source can be opened,
    else if the chosen one cannot. Raises ConfigError for an address of `sending` that is not this host's.
    """
    for address in sending.addresses:
        if address.is_multicast or not is_local(address):  # a socket can be bound to a group
            refuse(
                "source-address",
                f"{address} is no address of this host, or not usable yet; give one that `ip address` shows here",
            )
    if choice is SourceChoice.SOCKET:
        return _socket(size, sending, when_opened), ""
    try:
        source = _tracepoint(size, sending)
    except SourceError as error:
        if choice is SourceChoice.TRACEPOINT:
            raise
        _LOG.warning("no tracepoint source, falling back to socket time stamps: %s", error)
        return _socket(size, sending, when_opened), _one_line(error)
    try:
        when_opened()
    except BaseException:
        source.close()
        raise
    return source, ""


def _tracepoint(size: TableSize, sending: Sending) -> Source:
    from monlat_ebpf.sources.tracepoint.source import TracepointSource

    return TracepointSource(size, sending)


def _socket(size: TableSize, sending: Sending, when_opened: Callable[[], object]) -> Source:
    from monlat_ebpf.sources.socket.source import SocketSource

    return SocketSource(size, sending=sending, when_opened=when_opened)


def _one_line(error: SourceError) -> str:
    """Return what fits a label: the last line, which sums up the lines of the compiler or the verifier before it."""
    return str(error).splitlines()[-1].strip()[:_LONGEST_REASON]
