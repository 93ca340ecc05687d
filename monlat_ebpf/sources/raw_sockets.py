"""The raw sockets that send probes: two for each family, opened when first needed."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import socket
import struct
import sys
import termios
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from monlat_ebpf.host.addresses import is_local
from monlat_ebpf.host.next_hops import NextHops, NextHopState
from monlat_ebpf.model import Address, Family
from monlat_ebpf.sources import AS_USUAL, Destination, Packet, Sending

BPF_INSTRUCTION: Final = struct.Struct("=HBBI")  # struct sock_filter
BPF_RETURN: Final = 0x06  # linux/bpf_common.h
_DOMAIN: Final = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_PROTOCOL: Final = {Family.IPV4: socket.IPPROTO_ICMP, Family.IPV6: socket.IPPROTO_ICMPV6}
_SEND_BUFFER_BYTES: Final = 4 << 20
"""The size requested, for 10,000 packets that wait; the kernel grants as much as net.core.wmem_max allows."""

_BUFFER_FULL: Final = (errno.ENOBUFS, errno.EAGAIN)
_SOURCE_GONE: Final = (errno.EINVAL, errno.ENETUNREACH, errno.EADDRNOTAVAIL)
_SO_ATTACH_FILTER: Final = 26
_SO_ATTACH_BPF: Final = 50
_SO_COOKIE: Final = 57
_SOL_RAW: Final = 255
_ICMP_FILTER: Final = 1  # linux/icmp.h; a set bit blocks its type
_ICMP6_FILTER: Final = 1  # linux/icmpv6.h; likewise


class NextHopUnresolved(OSError):
    """Nobody has the address of the next hop."""


class SendBufferFull(OSError):
    """Packets that wait on this host fill the buffer of the socket."""


class RawSockets:
    """Sends ICMP messages and never waits, through two sockets of each family.

    One sends to targets that answer, the other one to all others. A packet that waits for the link address of its next
    hop stays in the buffer of its socket for 3 s. So peers that are gone cannot fill the buffer that the others need.
    When a peer goes, the kernel keeps its link address long enough for its target to change sockets before.

    `prepare` is called with each socket that is opened. `sending` says how packets leave.
    """

    def __init__(self, prepare: Callable[[socket.socket, Family], None], sending: Sending = AS_USUAL) -> None:
        self._prepare = prepare
        self._dscp = sending.dscp
        self._fixed = {Family.of(address): address for address in sending.addresses}
        self._sockets: dict[int, socket.socket] = {}  # by _key
        self._sources: dict[Family, Address] = dict(self._fixed)
        self._next_hops = NextHops()

    def get(self, family: Family, answering: bool = True) -> socket.socket:
        """Return the socket of `family` for targets that answer, or for those that do not. Raises OSError."""
        opened = self._sockets.get(_key(family, answering))
        if opened is None:
            opened = open_raw(family)
            try:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
                _set_dscp(opened, family, self._dscp)
                self._prepare(opened, family)
                if source := self._sources.get(family):
                    opened.bind((str(source), 0))
            except BaseException:
                opened.close()
                raise
            self._sockets[_key(family, answering)] = opened
        return opened

    def send(
        self, packet: bytes, to: Destination, start: Callable[[], int], *, answering: bool = True, rehearse: bool = True
    ) -> int:
        """Send `packet` as Source.send does."""
        try:
            return self._send(packet, to, start, answering, rehearse)
        except OSError as error:
            failure = error
        return self._send_again(packet, to, start, answering, failure)

    def send_batch(self, packets: Sequence[Packet], start: Callable[[int], int]) -> list[int | OSError]:
        """Send packets as Source.send_batch does.

        Where nothing else is to do, only `start` and the system call are between two packets: the kernel's work for
        one packet leaves little of any other code in the caches.
        """
        results: list[int | OSError] = []
        rehearse = True
        for slot, message, to, answering in packets:
            raw = self._sockets.get(_ANSWERING_IPV6 if to.family is _IPV6 else _ANSWERING_IPV4)
            try:
                if rehearse or raw is None or not answering:
                    sent_ns = self.send(message, to, partial(start, slot), answering=answering, rehearse=rehearse)
                    rehearse = False
                else:
                    destination = to.fixed or to.socket_address
                    sent_ns = start(slot)
                    try:
                        raw.sendto(message, 0, destination)
                    except OSError as failure:
                        sent_ns = self._send_again(message, to, partial(start, slot), answering, failure)
            except OSError as failure:
                results.append(failure)
            else:
                results.append(sent_ns)
        return results

    def _send_again(
        self, packet: bytes, to: Destination, start: Callable[[], int], answering: bool, failure: OSError
    ) -> int:
        """Send after a failure: from any address if ours is gone, through the other socket if the buffer is full.

        Targets that do not answer may fill only a quarter of the buffer of those that do, and only while the kernel has
        not asked for their link addresses.
        """
        source = None if to.family in self._fixed else self._sources.get(to.family)
        if source is not None and failure.errno in _SOURCE_GONE and not is_local(source):
            self._bind(to.family, None)
            return self._send(packet, to, start, answering)
        if failure.errno not in _BUFFER_FULL or _has_room(self.get(to.family, answering), 9 / 10):
            raise failure  # IPv6 says ENOBUFS also when a queue behind the socket dropped the packet
        if not answering and self.next_hop_state(to.address) is NextHopState.UNRESOLVED:
            raise NextHopUnresolved(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH)) from failure
        if not answering and not _has_room(self.get(to.family), 1 / 4):
            raise SendBufferFull(*failure.args) from failure
        try:
            return self._send(packet, to, start, not answering)
        except OSError as error:
            raise (SendBufferFull(*error.args) if error.errno in _BUFFER_FULL else error) from failure

    def _send(
        self, packet: bytes, to: Destination, start: Callable[[], int], answering: bool, rehearse: bool = True
    ) -> int:
        """Call `start` and send through one socket; return what `start` returned.

        While half of the buffer is in use, only one packet may wait for the link address of a next hop. Raises
        NextHopUnresolved for another one.

        After a pause no cache holds the code between `start` and the kernel, which then takes 9 us and not 2. So
        rehearse it: the kernel rejects MSG_OOB on a raw socket before it looks at anything else.
        """
        raw = self._sockets.get(_key(to.family, answering)) or self.get(to.family, answering)
        destination = to.socket_address
        if not answering and not _has_room(raw, 1 / 2) and self.next_hop_state(to.address) is NextHopState.UNRESOLVED:
            raise NextHopUnresolved(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))  # a packet waits there already
        sendto = raw.sendto
        if rehearse:
            with suppress(OSError):
                start()
                sendto(packet, socket.MSG_OOB, destination)
        sent_ns = start()
        sendto(packet, 0, destination)
        return sent_ns

    def next_hop_state(self, address: Address) -> NextHopState:
        """Return what the kernel knows of the next hop to `address`, for packets that this sends."""
        return self._next_hops.state(address, self._sources.get(Family.of(address)))

    def use_sources(self, addresses: Sequence[Address]) -> frozenset[Family]:
        """Send from these addresses, at most one of a family, as long as they are this host's.

        Return the families whose packets leave from these addresses. The kernel does not check an address again after
        it was bound, so call this about once a second.
        """
        wanted = {Family.of(address): address for address in addresses if is_local(address)}
        for family in Family:
            if family not in self._fixed and self._sources.get(family) != wanted.get(family):
                self._bind(family, wanted.get(family))
        return frozenset(family for family, source in self._sources.items() if source == wanted.get(family))

    def _bind(self, family: Family, source: Address | None) -> None:
        """Send from `source` from now on; None lets the route choose."""
        any_address = "0.0.0.0" if family is Family.IPV4 else "::"
        self._sources.pop(family, None)
        try:
            for answering in (True, False):
                if opened := self._sockets.get(_key(family, answering)):
                    opened.bind((str(source or any_address), 0))
        except OSError:  # not usable yet, as a new IPv6 address; the next call tries again
            return
        if source is not None:
            self._sources[family] = source

    def close(self) -> None:
        """Close all of them."""
        for opened in self._sockets.values():
            opened.close()
        self._sockets.clear()
        self._next_hops.close()


_IPV6: Final = Family.IPV6
_ANSWERING_IPV4, _ANSWERING_IPV6 = 1, 3  # as _key has it


def _key(family: Family, answering: bool) -> int:
    """Return the key of a socket: a number, because a tuple with an enum's member takes three times as long to find."""
    return 2 * (family is Family.IPV6) + answering


def _has_room(raw: socket.socket, share: float) -> bool:
    """Return whether packets that have not left take less than this share of what the kernel lets `raw` keep."""
    waiting = int.from_bytes(fcntl.ioctl(raw, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return waiting < share * 2 * raw.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)  # it keeps twice SO_SNDBUF


def open_raw(family: Family) -> socket.socket:
    """Return a raw ICMP socket that never waits. Raises OSError."""
    return socket.socket(_DOMAIN[family], socket.SOCK_RAW | socket.SOCK_NONBLOCK, _PROTOCOL[family])


def _set_dscp(raw: socket.socket, family: Family, dscp: int) -> None:
    """Let the packets of `raw` have that code point; the lowest two bits of the field are for ECN (RFC 3168)."""
    if family is Family.IPV4:
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    else:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)


def receive_nothing(raw: socket.socket, family: Family) -> None:
    """Let `raw` receive nothing: otherwise the kernel would copy every ICMP packet of the host to it."""
    attach_filter(raw, BPF_INSTRUCTION.pack(BPF_RETURN, 0, 0, 0))
    _block_types(raw, family, passed=())  # most are blocked before they reach that filter


def attach_decider(raw: socket.socket, family: Family, program: int) -> None:
    """Let the kernel program `program` see the echoes and ICMP errors that the stack delivers to `raw`."""
    _block_types(raw, family, passed=(0, 3, 4, 8, 11, 12) if family is Family.IPV4 else (*range(1, 128), 128, 129))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # the kernel's minimum: nothing is ever queued
    raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, program)


def _block_types(raw: socket.socket, family: Family, passed: Iterable[int]) -> None:
    """Let the kernel pass by `raw` with the ICMP types that are not in `passed`: it tests that before it copies."""
    bits = sum(1 << kind for kind in passed)
    if family is Family.IPV4:
        raw.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", ~bits & 0xFFFFFFFF))
    else:
        raw.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, (~bits & (1 << 256) - 1).to_bytes(32, "little"))


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
