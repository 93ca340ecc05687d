"""A peer in user space behind a TUN or TAP device, which answers in ways that no kernel does."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType
from typing import Final, Literal, Self

from monlat_ebpf.testbed.namespace import Namespace
from testkit.actions import Action, Answer
from testkit.capture import Probe
from testkit.device import RawDevice
from testkit.framing import ETHERNET_HEADER_BYTES
from testkit.packets import address_of, checksum, parse_echo_request

Change = Callable[[bytes], bytes]
MAC_BYTES: Final = 6


class Answerer:
    """Answers in a thread, and notes how long it took: after the request was read, before the answer is written.

    `change` alters each frame that is written. Only requests to `peers` are answered.
    """

    def __init__(
        self,
        namespace: Namespace,
        name: str,
        addresses: Iterable[str],
        peers: Iterable[str],
        *,
        kind: Literal["tun", "tap"] = "tap",
        in_frags: bool = False,
        owes_checksum: bool = False,
        action: Action | None = None,
        change: Change = lambda frame: frame,
    ) -> None:
        how = {"in_frags": in_frags, "owes_checksum": owes_checksum}
        self._device = RawDevice(namespace, addresses, kind=kind, name=name, **how)
        self._peers = {IPv6Address(each) if ":" in each else IPv4Address(each) for each in peers}
        self._in_frags = in_frags
        self._action = action or Answer()
        self._change = change
        self.dwell_ns: dict[Probe, int] = {}
        self._over = os.eventfd(0)
        self._thread = threading.Thread(target=self._run, name=f"answer {name}")

    def _run(self) -> None:
        descriptor = self._device.descriptor
        while self._over not in select.select([descriptor, self._over], [], [])[0]:
            packet = self._device.framing.packet(os.read(descriptor, 65536))
            read_ns = time.monotonic_ns()
            request = parse_echo_request(packet)
            if request is None or address_of(request.destination) not in self._peers:
                continue
            frames = [self._change(self._device.framing.frame(each.packet)) for each in self._action.answers(request)]
            if request.probe is not None:
                probe = Probe(request.version, request.identifier, request.probe[0])
                self.dwell_ns[probe] = time.monotonic_ns() - read_ns
            for frame in frames:
                head = ETHERNET_HEADER_BYTES if self._in_frags else len(frame)
                os.writev(descriptor, [part for part in (frame[:head], frame[head:]) if part])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.eventfd_write(self._over, 1)
        self._thread.join()
        os.close(self._over)
        self._device.close()


def to_another_mac(frame: bytes) -> bytes:
    """Return the frame with another destination."""
    return bytes.fromhex("0200000000fe") + frame[MAC_BYTES:]


def with_two_tags(frame: bytes) -> bytes:
    """Return the frame with an outer 802.1ad and an inner 802.1Q tag, both of VLAN 0, which needs no device."""
    return frame[: 2 * MAC_BYTES] + bytes.fromhex("88a80000 81000000") + frame[2 * MAC_BYTES :]


def with_wrong_header_checksum(frame: bytes) -> bytes:
    """Return the frame with the checksum of its IPv4 header flipped; IPv6 has none."""
    at = ETHERNET_HEADER_BYTES + 10
    if frame[ETHERNET_HEADER_BYTES] >> 4 == 6:
        return frame
    return frame[:at] + bytes([frame[at] ^ 0xFF]) + frame[at + 1 :]


def with_wrong_length(frame: bytes) -> bytes:
    """Return the frame with 8 bytes more in the length of its IP header than there are."""
    start = ETHERNET_HEADER_BYTES
    packet = bytearray(frame[start:])
    at = 2 if packet[0] >> 4 == 4 else 4
    packet[at : at + 2] = (int.from_bytes(packet[at : at + 2], "big") + 8).to_bytes(2, "big")
    if packet[0] >> 4 == 4:
        packet[10:12] = bytes(2)
        packet[10:12] = checksum(bytes(packet[:20])).to_bytes(2, "big")
    return frame[:start] + packet
