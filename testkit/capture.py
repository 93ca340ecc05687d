"""What passes a device, with the kernel's stamps for packet sockets: what tcpdump would show."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Self

from monlat_ebpf.abi import layout
from monlat_ebpf.testbed.namespace import Namespace

_ALL_PROTOCOLS: Final = 3  # ETH_P_ALL, linux/if_ether.h
_OUTGOING: Final = 4  # PACKET_OUTGOING, linux/if_packet.h
_TIMESTAMPNS: Final = 35  # SO_TIMESTAMPNS, asm-generic/socket.h
_RCVBUFFORCE: Final = 33
_BUFFER_BYTES: Final = 1 << 26  # two minutes of 100 echoes a second, at 2 KiB a packet, with replies
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6  # linux/if_packet.h
_MAGIC: Final = layout.PAYLOAD_MAGIC.to_bytes(4, "little")
_SEQUENCE_AT: Final = 8 + layout.PAYLOAD.offset("sequence")
_REQUESTS, _REPLIES = (8, 128), (0, 129)


class Packet(NamedTuple):
    """An IP packet on a device. The time is of the wall clock: only differences are of use."""

    data: bytes
    is_sent: bool
    at_ns: int


@dataclass(frozen=True, slots=True)
class Probe:
    """What a request and its reply have in common."""

    version: int
    identifier: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Seen:
    """An echo of monlat on a device, and when."""

    probe: Probe
    is_request: bool
    is_sent: bool
    at_ns: int


class Capture:
    """Keeps the packets of a device from its start on in the buffer of its socket; a context manager.

    Nobody waits at the socket, so a packet costs its copy and no wake-up.
    """

    def __init__(self, namespace: Namespace, device: str) -> None:
        with namespace.entered():
            # packets come without the header of their link, of whatever kind that is
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _BUFFER_BYTES)
            self._socket.bind((device, _ALL_PROTOCOLS))

    def packets(self) -> Iterator[Packet]:
        """Yield what has passed since the start, or since the last call."""
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(2048, 64, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            seconds, nanoseconds = next(
                struct.unpack("qq", time) for _, kind, time in ancillary if kind == _TIMESTAMPNS
            )
            yield Packet(data, address[2] == _OUTGOING, seconds * 1_000_000_000 + nanoseconds)

    def dropped(self) -> int:
        """Return how many packets did not fit into the buffer since the last call (packet(7), PACKET_STATISTICS)."""
        _, drops = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        return int(drops)

    def requests(self, *, sent: bool) -> dict[Probe, int]:
        """Return when each request was sent, or received; call `read` first."""
        return {seen.probe: seen.at_ns for seen in self._seen if seen.is_request and seen.is_sent is sent}

    def replies(self, *, sent: bool) -> dict[Probe, int]:
        """Return when each reply was sent, or received."""
        return {seen.probe: seen.at_ns for seen in self._seen if not seen.is_request and seen.is_sent is sent}

    def read(self) -> None:
        """Read what has passed since the start."""
        echoes = (_parse(*packet) for packet in self.packets())
        self._seen = [seen for seen in echoes if seen is not None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.close()


def _parse(packet: bytes, is_sent: bool, at_ns: int) -> Seen | None:
    """Return the echo in a packet that has no extension headers and is no fragment."""
    if len(packet) < 40:
        return None
    version = packet[0] >> 4
    start, protocol, wanted = ((packet[0] & 15) * 4, packet[9], 1) if version == 4 else (40, packet[6], 58)
    echo = packet[start:]
    if (
        protocol != wanted
        or len(echo) < _SEQUENCE_AT + 4
        or echo[0] not in (*_REQUESTS, *_REPLIES)
        or echo[8:12] != _MAGIC
    ):
        return None
    (sequence,) = struct.unpack_from("<I", echo, _SEQUENCE_AT)
    probe = Probe(version, int.from_bytes(echo[4:6], "big"), sequence)
    return Seen(probe, echo[0] in _REQUESTS, is_sent, at_ns)
