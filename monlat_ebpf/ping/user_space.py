"""The view of user space: replies and ICMP errors as icmplib reads them. Nothing else imports icmplib."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Self

from icmplib import ICMPLibError, ICMPv4Socket, ICMPv6Socket, SocketPermissionError

from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND
from monlat_ebpf.errors import SourceError
from monlat_ebpf.model import Address, Family
from monlat_ebpf.sources.socket.filters import attach_filters
from monlat_ebpf.sources.socket.messages import ECHO_REPLY, ICMP_HEADER_BYTES, IPV4_ERRORS

_IPV4_HEADER_BYTES: Final = 20
_QUOTE_AT: Final = _IPV4_HEADER_BYTES + ICMP_HEADER_BYTES
_READ_SECONDS: Final = 1.0
"""To read a packet that has arrived already: icmplib drops a packet that it gets only after this time."""

SEQUENCES: Final = 1 << 16
"""The sequence in an ICMP header has 16 bits."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply or an ICMP error, with identifier and sequence of the request. `read_ns` is of CLOCK_MONOTONIC."""

    identifier: int
    sequence: int
    is_reply: bool
    sender: Address
    read_ns: int


class _IPv4Socket(ICMPv4Socket):  # type: ignore[misc]  # icmplib has no types
    """icmplib's socket, which expects no options in an IPv4 header and would find no ICMP header behind them."""

    def _parse_reply(self, packet: bytes, source: str, current_time: float) -> Any:
        packet = _without_options(packet, 0)
        if len(packet) > _QUOTE_AT and packet[_IPV4_HEADER_BYTES] in IPV4_ERRORS:
            packet = _without_options(packet, _QUOTE_AT)
        return super()._parse_reply(packet, source, current_time)


_SOCKETS: Final = {Family.IPV4: _IPv4Socket, Family.IPV6: ICMPv6Socket}


def _without_options(packet: bytes, at: int) -> bytes:
    """Return `packet` without the options of the IPv4 header at that byte."""
    return packet[: at + _IPV4_HEADER_BYTES] + packet[at + (packet[at] & 15) * 4 :]


class EchoReader:
    """A raw socket of icmplib's that reads what answers the echo requests to `address`."""

    def __init__(self, address: Address) -> None:
        """Open the socket. Raises SourceError where this is not allowed."""
        self._address = address
        family = Family.of(address)
        try:
            self._icmp = _SOCKETS[family]()
            attach_filters(self._icmp.sock, family)
        except SocketPermissionError as error:
            raise SourceError("no raw socket: monlat ping needs CAP_NET_RAW, or root") from error
        except (ICMPLibError, OSError) as error:
            raise SourceError(f"no {family} raw socket: {error}") from error
        self._reply_type = ECHO_REPLY[family]

    def fileno(self) -> int:
        """Return the descriptor, readable when `receive` has something to give."""
        descriptor: int = self._icmp.sock.fileno()
        return descriptor

    def receive(self) -> Iterator[Answer]:
        """Yield the answers that have arrived, without the replies of other hosts."""
        while select.select([self._icmp.sock], [], [], 0)[0]:
            try:
                reply = self._icmp.receive(timeout=_READ_SECONDS)
            except ICMPLibError:
                return  # the packet is malformed, or was dropped meanwhile
            age_seconds = time.time() - reply.time  # icmplib stamps with the wall clock
            read_ns = time.monotonic_ns() - round(age_seconds * NANOSECONDS_PER_SECOND)
            sender = ip_address(reply.source)
            is_reply = reply.type == self._reply_type
            if not is_reply or sender.packed == self._address.packed:
                yield Answer(reply.id, reply.sequence, is_reply, sender, read_ns)

    def close(self) -> None:
        """Close the socket."""
        self._icmp.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()
