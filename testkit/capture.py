"""Echoes of monlat that pass a device, with the kernel's stamps for packet sockets: what tcpdump would show."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from monlat_ebpf.abi import layout
from monlat_ebpf.testbed.namespace import Namespace

_ALL_PROTOCOLS: Final = 3  # ETH_P_ALL, linux/if_ether.h
_OUTGOING: Final = 4  # PACKET_OUTGOING, linux/if_packet.h
_TIMESTAMPNS: Final = 35  # SO_TIMESTAMPNS, asm-generic/socket.h
_RCVBUFFORCE: Final = 33
_BUFFER_BYTES: Final = 1 << 22
_MAGIC: Final = layout.PAYLOAD_MAGIC.to_bytes(4, "little")
_SEQUENCE_AT: Final = 8 + layout.PAYLOAD.offset("sequence")
_REQUESTS, _REPLIES = (8, 128), (0, 129)


@dataclass(frozen=True, slots=True)
class Probe:
    """What a request and its reply have in common."""

    version: int
    identifier: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Seen:
    """An echo on a device. The time is of the wall clock: only differences are of use."""

    probe: Probe
    is_request: bool
    is_sent: bool
    at_ns: int


class Capture:
    """Keeps the packets of a device from its start on in the buffer of its socket; a context manager."""

    def __init__(self, namespace: Namespace, device: str) -> None:
        with namespace.entered():
            # packets come without the header of their link, of whatever kind that is
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _BUFFER_BYTES)
            self._socket.bind((device, _ALL_PROTOCOLS))

    def requests(self, *, sent: bool) -> dict[Probe, int]:
        """Return when each request was sent, or received; call `read` first."""
        return {seen.probe: seen.at_ns for seen in self._seen if seen.is_request and seen.is_sent is sent}

    def replies(self, *, sent: bool) -> dict[Probe, int]:
        """Return when each reply was sent, or received."""
        return {seen.probe: seen.at_ns for seen in self._seen if not seen.is_request and seen.is_sent is sent}

    def read(self) -> None:
        """Read what has passed since the start."""
        self._seen = list(self._read())

    def _read(self) -> Iterator[Seen]:
        while True:
            try:
                packet, ancillary, _, address = self._socket.recvmsg(2048, 64, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            seconds, nanoseconds = next(
                struct.unpack("qq", data) for _, kind, data in ancillary if kind == _TIMESTAMPNS
            )
            seen = _parse(packet, address[2] == _OUTGOING, seconds * 1_000_000_000 + nanoseconds)
            if seen is not None:
                yield seen

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
