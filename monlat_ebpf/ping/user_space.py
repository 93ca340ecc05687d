"""The view of user space: replies and ICMP errors as icmplib reads them. Nothing else imports icmplib."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Final, Self

from icmplib import ICMPLibError, ICMPv4Socket, ICMPv6Socket, SocketPermissionError

from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND
from monlat_ebpf.errors import SourceError
from monlat_ebpf.model import Address, Family
from monlat_ebpf.sources.socket.filters import attach_filters
from monlat_ebpf.sources.socket.messages import ECHO_REPLY

_SOCKETS: Final = {Family.IPV4: ICMPv4Socket, Family.IPV6: ICMPv6Socket}
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
