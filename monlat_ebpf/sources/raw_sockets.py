"""The raw sockets that send probes: one for each family, opened when first needed."""

from __future__ import annotations

import ctypes
import secrets
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from monlat_ebpf.model import Address, Family

BPF_INSTRUCTION: Final = struct.Struct("=HBBI")  # struct sock_filter
BPF_RETURN: Final = 0x06  # linux/bpf_common.h
_DOMAIN: Final = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_PROTOCOL: Final = {Family.IPV4: socket.IPPROTO_ICMP, Family.IPV6: socket.IPPROTO_ICMPV6}
_SO_ATTACH_FILTER: Final = 26
_SO_ATTACH_BPF: Final = 50
_SO_COOKIE: Final = 57
_SOL_RAW: Final = 255
_ICMP_FILTER: Final = 1  # linux/icmp.h; a set bit blocks its type
_ICMP6_FILTER: Final = 1  # linux/icmpv6.h; likewise


class RawSockets:
    """Sends ICMP messages and never waits. `prepare` is called with each socket that is opened."""

    def __init__(self, prepare: Callable[[socket.socket, Family], None]) -> None:
        self._prepare = prepare
        self._sockets: dict[Family, socket.socket] = {}

    def get(self, family: Family) -> socket.socket:
        """Return the socket of `family`. Raises OSError if it cannot be opened."""
        opened = self._sockets.get(family)
        if opened is None:
            opened = open_raw(family)
            try:
                self._prepare(opened, family)
            except BaseException:
                opened.close()
                raise
            self._sockets[family] = opened
        return opened

    def send(self, packet: bytes, address: Address, start: Callable[[], object]) -> None:
        """Send `packet` to `address`, and call `start` immediately before. Raises OSError as the system call does.

        After a pause no cache holds the code between `start` and the kernel, which then takes 9 us and not 2. So
        rehearse it: the kernel rejects MSG_OOB on a raw socket before it looks at anything else.
        """
        raw, destination = self.get(Family.of(address)), (str(address), 0)
        with suppress(OSError):
            start()
            raw.sendto(packet, socket.MSG_OOB, destination)
        start()
        raw.sendto(packet, 0, destination)

    def close(self) -> None:
        """Close all of them."""
        for opened in self._sockets.values():
            opened.close()
        self._sockets.clear()


def open_raw(family: Family) -> socket.socket:
    """Return a raw ICMP socket that never waits. Raises OSError."""
    return socket.socket(_DOMAIN[family], socket.SOCK_RAW | socket.SOCK_NONBLOCK, _PROTOCOL[family])


def receive_nothing(raw: socket.socket, _family: Family) -> None:
    """Let `raw` receive nothing: otherwise the kernel would copy every ICMP packet of the host to it."""
    attach_filter(raw, BPF_INSTRUCTION.pack(BPF_RETURN, 0, 0, 0))


def attach_decider(raw: socket.socket, family: Family, program: int) -> None:
    """Let the kernel program `program` see the echoes and ICMP errors that the stack delivers to `raw`."""
    if family is Family.IPV4:
        passed = sum(1 << kind for kind in (0, 3, 4, 8, 11, 12))
        raw.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", ~passed & 0xFFFFFFFF))
    else:
        passed = sum(1 << kind for kind in (*range(1, 128), 128, 129))
        raw.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, (~passed & (1 << 256) - 1).to_bytes(32, "little"))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # the kernel's minimum: nothing is ever queued
    raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, program)


def cookie(raw: socket.socket) -> int:
    """Return the kernel's number of this socket, by which the kernel program knows its packets."""
    return int.from_bytes(raw.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8), "little")


def new_identifier() -> int:
    """Return an identifier for the echo requests of this process."""
    return secrets.randbelow(1 << 16)


def attach_filter(sock: socket.socket, program: bytes) -> None:
    """Let `sock` receive only packets for which `program`, classic BPF, returns nonzero. Raises OSError."""
    instructions = ctypes.create_string_buffer(program)  # the kernel copies them
    array = struct.pack("HL", len(program) // BPF_INSTRUCTION.size, ctypes.addressof(instructions))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, array)
