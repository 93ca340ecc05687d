"""Parses what raw sockets receive: replies to probes, and ICMP errors that quote a probe.

The rules are those of `bpf/packet.h` and `bpf/core.h`. Packets are hostile input: a length in them can only shorten
what is read.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.echo import ECHO_REQUEST
from monlat_ebpf.model import Family

MAGIC_AND_VERSION: Final = layout.PAYLOAD.part("magic", "version").pack(layout.PAYLOAD_MAGIC, layout.PAYLOAD_VERSION)
ICMP_HEADER_BYTES: Final = 8
ECHO_BYTES: Final = ICMP_HEADER_BYTES + layout.PAYLOAD.size
ECHO_REPLY: Final = {Family.IPV4: 0, Family.IPV6: 129}
IPV4_ERRORS: Final = (3, 4, 11, 12)
"""Unreachable, source quench, time exceeded, parameter problem (RFC 792); for ICMPv6 1 to 127 (RFC 4443)."""
LONGEST_IPV6_ERROR: Final = 127

MALFORMED_PAYLOAD: Final = layout.CONSTANTS["UNMATCHED_MALFORMED_PAYLOAD"]
TRUNCATED_QUOTE: Final = layout.CONSTANTS["UNMATCHED_TRUNCATED_QUOTE"]

_SLOT_TO_NONCE: Final = layout.PAYLOAD.part("slot", "nonce")
_QUOTED_PAYLOAD_BYTES: Final = layout.PAYLOAD.offset("feedback")
"""A quote must reach the end of the nonce, where the feedback begins."""
_IPV4_IN_IPV6: Final = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Reply:
    """An echo reply of the right length. `source` has 16 bytes; `checked` is what the checksum covers."""

    source: bytes
    slot: int
    nonce: int
    checked: bytes

    def is_checksum_right(self) -> bool:
        """Whether the Internet checksum (RFC 1071) fits: all words, with its own, add up to 0 modulo 0xffff."""
        return int.from_bytes(self.checked, "big") % 0xFFFF == 0


@dataclass(frozen=True, slots=True)
class IcmpError:
    """An ICMP error for a request of ours to `destination` (16 bytes)."""

    type: int
    code: int
    destination: bytes
    slot: int
    nonce: int


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A packet with our magic that belongs to no probe, and the UNMATCHED_ reason."""

    reason: int


Message = Reply | IcmpError | Unmatched


def parse_ipv4(packet: bytes) -> Message | None:
    """Parse an IPv4 packet as a raw socket returns it; return None if it is another program's."""
    header_bytes = (packet[0] & 15) * 4 if packet else 0
    if header_bytes < 20:
        return None
    return _parse(Family.IPV4, packet[header_bytes:], _IPV4_IN_IPV6 + packet[12:16], b"")


def parse_ipv6(message: bytes, source: bytes, destination: bytes) -> Message | None:
    """Parse an ICMPv6 message, which a raw socket returns without its IPv6 header. Addresses have 16 bytes."""
    pseudo_header = (
        source + destination + struct.pack("!II", len(message), socket.IPPROTO_ICMPV6)
    )  # RFC 8200, section 8.1
    return _parse(Family.IPV6, message, source, pseudo_header)


def find_probe_in(packet: bytes) -> tuple[int, int] | None:
    """Return slot and nonce of the probe in a packet that we sent, after whatever headers the link added."""
    at = packet.rfind(MAGIC_AND_VERSION)
    return _slot_and_nonce(packet, at) if 0 <= at <= len(packet) - _QUOTED_PAYLOAD_BYTES else None


def _parse(family: Family, icmp: bytes, source: bytes, pseudo_header: bytes) -> Message | None:
    if len(icmp) < ICMP_HEADER_BYTES:
        return None
    kind = icmp[0]
    if kind == ECHO_REPLY[family]:
        if not icmp.startswith(MAGIC_AND_VERSION, ICMP_HEADER_BYTES):
            return None
        if len(icmp) != ECHO_BYTES:
            return Unmatched(MALFORMED_PAYLOAD)
        slot, nonce = _slot_and_nonce(icmp, ICMP_HEADER_BYTES)
        return Reply(source, slot, nonce, pseudo_header + icmp)
    if kind in IPV4_ERRORS if family is Family.IPV4 else 0 < kind <= LONGEST_IPV6_ERROR:
        return _parse_error(family, icmp)
    return None


def _parse_error(family: Family, icmp: bytes) -> Message | None:
    quote = icmp[ICMP_HEADER_BYTES:]
    if family is Family.IPV4:
        if len(quote) < 20 or quote[0] >> 4 != 4 or quote[0] & 15 < 5 or quote[9] != socket.IPPROTO_ICMP:
            return None
        header_bytes, claimed = (quote[0] & 15) * 4, int.from_bytes(quote[2:4], "big")
        destination = _IPV4_IN_IPV6 + quote[16:20]
    else:
        if len(quote) < 40 or quote[0] >> 4 != 6 or quote[6] != socket.IPPROTO_ICMPV6:
            return None
        header_bytes, claimed = 40, 40 + int.from_bytes(quote[4:6], "big")
        destination = quote[24:40]
    request = quote[header_bytes:claimed]
    if not request or request[0] != ECHO_REQUEST[family]:
        return None
    if not request.startswith(MAGIC_AND_VERSION, ICMP_HEADER_BYTES):
        return None
    if len(request) < ICMP_HEADER_BYTES + _QUOTED_PAYLOAD_BYTES:
        return Unmatched(TRUNCATED_QUOTE)
    slot, nonce = _slot_and_nonce(request, ICMP_HEADER_BYTES)
    return IcmpError(icmp[0], icmp[1], destination, slot, nonce)


def _slot_and_nonce(data: bytes, payload_at: int) -> tuple[int, int]:
    payload = _SLOT_TO_NONCE.read(data[payload_at:])
    return payload.slot, payload.nonce
