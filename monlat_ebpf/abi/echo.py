"""The echo requests that serve as probes, as bytes; and the names of the ICMP errors that can end them."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from monlat_ebpf.abi import layout
from monlat_ebpf.model import Family

ECHO_REQUEST: Final = {Family.IPV4: 8, Family.IPV6: 128}
_HEADER: Final = struct.Struct("!BBHHH")
_UP_TO_NONCE: Final = layout.PAYLOAD.part("magic", "nonce")
_STREAM: Final = layout.PAYLOAD.part("stream")
_U32: Final = 2**32 - 1
_WORDS: Final = struct.Struct(f"!{(_HEADER.size + layout.PAYLOAD.size) // 2}H")


class Feedback(NamedTuple):
    """What a payload says to the peer's agent: `report` as `struct feedback` is laid out, the rest as `struct payload`.

    A report of zeros says that there is nothing to report yet.
    """

    report: bytes = bytes(layout.FEEDBACK.size)
    known: int = 0
    stream: int = 0


NO_FEEDBACK: Final = Feedback()


def payload(slot: int, sequence: int, nonce: int, feedback: Feedback = NO_FEEDBACK) -> bytes:
    """Return the payload of a probe. It carries the lowest 32 bits of `sequence`."""
    magic, version = layout.PAYLOAD_MAGIC, layout.PAYLOAD_VERSION
    start = _UP_TO_NONCE.pack(magic, version, feedback.known, 0, slot, sequence & _U32, nonce)
    return start + feedback.report + _STREAM.pack(feedback.stream)


def echo_request(
    family: Family, identifier: int, slot: int, sequence: int, nonce: int, feedback: Feedback = NO_FEEDBACK
) -> bytes:
    """Return a whole ICMP or ICMPv6 echo request.

    The kernel fills in the checksum of ICMPv6, because that covers addresses which only the kernel knows (RFC 3542,
    section 3.1).
    """
    kind = ECHO_REQUEST[family]
    body = payload(slot, sequence, nonce, feedback)
    message = _HEADER.pack(kind, 0, 0, identifier, sequence & 0xFFFF) + body
    if family is Family.IPV6:
        return message
    return _HEADER.pack(kind, 0, checksum(message), identifier, sequence & 0xFFFF) + body


def checksum(message: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an echo request of our length."""
    total: int = sum(_WORDS.unpack(message))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


_ERROR_NAMES: Final = {
    Family.IPV4: {
        3: "destination_unreachable",
        4: "source_quench",
        11: "time_exceeded",
        12: "parameter_problem",
    },
    Family.IPV6: {
        1: "destination_unreachable",
        2: "packet_too_big",
        3: "time_exceeded",
        4: "parameter_problem",
    },
}
_FRAGMENTATION_NEEDED: Final = (3, 4)


def error_name(family: Family, icmp_type: int, code: int) -> str:
    """Return the name of an ICMP error (RFC 792, RFC 4443), as `monlat_probe_errors_total` shows it.

    A packet too big for a link has the same name in both families.
    """
    if family is Family.IPV4 and (icmp_type, code) == _FRAGMENTATION_NEEDED:
        return "icmp_packet_too_big"
    return f"icmp_{_ERROR_NAMES[family].get(icmp_type, f'type_{icmp_type}')}"
