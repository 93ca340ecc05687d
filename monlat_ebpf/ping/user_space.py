"""The view of user space: echo requests sent and answers read by icmplib, whose one front door this is.

icmplib stamps with the wall clock, before the system call that sends and after the one that reads.
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Self

from icmplib import ICMPLibError, ICMPRequest, ICMPv4Socket, ICMPv6Socket, SocketPermissionError

from monlat_ebpf.abi import echo
from monlat_ebpf.errors import SourceError
from monlat_ebpf.model import Address, Family
from monlat_ebpf.sources.socket.filters import attach_filters
from monlat_ebpf.sources.socket.messages import ECHO_REPLY

_DOMAIN: Final = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_PROTOCOL: Final = {Family.IPV4: socket.IPPROTO_ICMP, Family.IPV6: socket.IPPROTO_ICMPV6}
_SOCKETS: Final = {Family.IPV4: ICMPv4Socket, Family.IPV6: ICMPv6Socket}
_READ_SECONDS: Final = 1.0
"""For a packet that is there already: icmplib throws away what it reads later than this after it was asked."""

SEQUENCES: Final = 1 << 16
"""An ICMP sequence has 16 bits."""

Send = Callable[[bytes, Address], None]


@dataclass(frozen=True, slots=True)
class Sent:
    """When a request was sent: t0 by CLOCK_MONOTONIC in ns, and by icmplib in seconds of the wall clock."""

    monotonic_ns: int
    time: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What icmplib read: a reply, or an ICMP error. `sequence` in 16 bits, `time` in seconds of the wall clock."""

    sequence: int
    is_reply: bool
    sender: Address
    time: float


class EchoSocket:
    """A raw socket of icmplib's that sends echo requests to `address` and reads what answers them.

    With `send` the packet that icmplib makes goes out by that function, at the same place: a source that reads
    transmit stamps from its own socket must be the one that sends.
    """

    def __init__(self, address: Address, send: Send | None = None) -> None:
        """Open the socket. Raises SourceError where this is not allowed."""
        self._address = address
        self._identifier = secrets.randbelow(1 << 16)
        family = Family.of(address)
        try:
            self._icmp = _open(family, address, send)
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

    def send(self, slot: int, sequence: int, nonce: int) -> Sent:
        """Send a probe. Raises OSError as the system call does."""
        payload = echo.payload(slot, sequence, nonce)
        request = ICMPRequest(str(self._address), self._identifier, sequence % SEQUENCES, payload)
        try:
            self._icmp.send(request)
        except ICMPLibError as error:
            # icmplib calls a refusal by a firewall a broadcast; the system call's own error is behind it
            raise error.__context__ if isinstance(error.__context__, OSError) else OSError(str(error)) from error
        return Sent(self._icmp.sock.sent_ns, request.time)

    def receive(self) -> Iterator[Answer]:
        """Yield the answers that are there, replies of other hosts left out."""
        while select.select([self._icmp.sock], [], [], 0)[0]:
            try:
                reply = self._icmp.receive(timeout=_READ_SECONDS)
            except ICMPLibError:
                return  # a packet that is none, or gone again
            if reply.id != self._identifier:
                continue
            answer = Answer(reply.sequence, reply.type == self._reply_type, ip_address(reply.source), reply.time)
            if not answer.is_reply or answer.sender.packed == self._address.packed:
                yield answer

    def close(self) -> None:
        """Close the socket."""
        self._icmp.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


class _SendingSocket(socket.socket):
    """A raw socket that notes t0, and may leave sending to a function.

    t0 belongs right before the system call: what icmplib does before, making the packet, is not the kernel's doing.
    """

    sent_ns = 0
    send_by: Callable[[bytes], None] | None = None

    def sendto(self, data: Any, *destination: Any) -> int:
        """Send `data`."""
        self.sent_ns = time.monotonic_ns()
        if self.send_by is None:
            return super().sendto(data, *destination)
        self.send_by(data)
        return len(data)


def _open(family: Family, address: Address, send: Send | None) -> Any:
    base = _SOCKETS[family]

    class Socket(base):  # type: ignore[misc, valid-type]  # icmplib has no types
        def _create_socket(self, type: int) -> socket.socket:  # icmplib's place for it, and its name
            made = _SendingSocket(_DOMAIN[family], type, _PROTOCOL[family])
            if send is not None:
                made.send_by = lambda data: send(data, address)
            return made

    return Socket()
