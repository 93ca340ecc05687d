"""The echo requests that serve as probes, as bytes; and the names of the ICMP errors that can end them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from monlat_ebpf.abi import layout
from monlat_ebpf.model import Family

ECHO_REQUEST: Final = {Family.IPV4: 8, Family.IPV6: 128}
_IPV4, _IPV6 = ECHO_REQUEST[Family.IPV4], ECHO_REQUEST[Family.IPV6]  # a look-up by an enum's member is slow
_HEADER_BYTES: Final = 8
_MESSAGE: Final = struct.Struct(f"<BBHHH{layout.PAYLOAD.part('magic', 'nonce').format[1:]}{layout.FEEDBACK.size}sQ")
"""An ICMP header and a payload, little-endian: the 16-bit words of the header, big-endian on the wire, are swapped."""

_FAMILY_IPV4: Final = Family.IPV4
_MAGIC, _VERSION = layout.PAYLOAD_MAGIC, layout.PAYLOAD_VERSION
_CONSTANT_SUM: Final = _IPV4 + _MAGIC + _VERSION
"""What each request over IPv4 adds to its checksum: its type, and the two members that have one value."""

_U32: Final = 2**32 - 1
_NOTHING: Final = bytes(layout.FEEDBACK.size)


class Feedback(NamedTuple):
    """What a payload says to the peer's agent: `report` as `struct feedback` is laid out, the rest as `struct payload`.

    A report of zeros says that there is nothing to report yet.
    """

    report: bytes = _NOTHING
    known: int = 0
    stream: int = 0


NO_FEEDBACK: Final = Feedback()


def payload(slot: int, sequence: int, nonce: int, feedback: Feedback = NO_FEEDBACK) -> bytes:
    """Return the payload of a probe. It carries the lowest 32 bits of `sequence`."""
    return echo_request(Family.IPV6, 0, slot, sequence, nonce, feedback)[_HEADER_BYTES:]


def echo_request(
    family: Family, identifier: int, slot: int, sequence: int, nonce: int, feedback: Feedback = NO_FEEDBACK
) -> bytes:
    """Return a whole ICMP or ICMPv6 echo request.

    The kernel fills in the checksum of ICMPv6, because that covers addresses which only the kernel knows (RFC 3542,
    section 3.1).
    """
    return requests(identifier)(family, slot, sequence, nonce, feedback)


def requests(identifier: int) -> Callable[[Family, int, int, int, Feedback], bytes]:
    """Return a function that is `echo_request` with that identifier, for the loop that makes many requests."""
    swapped_identifier = (identifier & 0xFF) << 8 | identifier >> 8
    constant_sum = _CONSTANT_SUM + swapped_identifier
    pack, nothing = _MESSAGE.pack, _NOTHING

    def request(family: Family, slot: int, sequence: int, nonce: int, feedback: Feedback) -> bytes:
        report, known, stream = feedback
        in_payload = sequence & _U32
        swapped_sequence = (sequence & 0xFF) << 8 | sequence >> 8 & 0xFF
        if family is not _FAMILY_IPV4:
            kind, checksum = _IPV6, 0
        else:
            kind = _IPV4
            # RFC 1071: a sum of 16-bit words in ones' complement is their remainder modulo 2^16 - 1, of a longer number
            # as of its words; and words of the other byte order have the sum in that byte order
            numbers = constant_sum + swapped_sequence + (known << 8) + slot + in_payload + nonce + stream
            if report is not nothing:
                numbers += int.from_bytes(report, "little")
            checksum = -numbers % 0xFFFF
        return pack(
            kind,
            0,
            checksum,
            swapped_identifier,
            swapped_sequence,
            _MAGIC,
            _VERSION,
            known,
            0,
            slot,
            in_payload,
            nonce,
            report,
            stream,
        )

    return request


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
