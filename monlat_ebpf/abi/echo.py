"""The echo requests that probes are: ICMP message and payload (DESIGN section 4)."""

from __future__ import annotations

import struct
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.model import Family

ECHO_REQUEST: Final = {Family.IPV4: 8, Family.IPV6: 128}
_HEADER: Final = struct.Struct("!BBHHH")
_PAYLOAD_START: Final = struct.Struct("<IBBHIIQ")
_PADDING: Final = bytes(layout.PAYLOAD.size - layout.PAYLOAD.offset("padding"))
NO_FEEDBACK: Final = bytes(layout.FEEDBACK.size)
"""All zeros: nothing to tell yet."""
_WORDS: Final = struct.Struct(f"!{(_HEADER.size + layout.PAYLOAD.size) // 2}H")


def payload(slot: int, sequence: int, nonce: int, feedback: bytes = NO_FEEDBACK) -> bytes:
    """Return the payload of a probe; `feedback` as `struct feedback` is laid out."""
    start = _PAYLOAD_START.pack(layout.PAYLOAD_MAGIC, layout.PAYLOAD_VERSION, 0, 0, slot, sequence, nonce)
    return start + feedback + _PADDING


def echo_request(
    family: Family, identifier: int, slot: int, sequence: int, nonce: int, feedback: bytes = NO_FEEDBACK
) -> bytes:
    """Return a whole ICMP or ICMPv6 echo request.

    The checksum of ICMPv6 covers addresses that the kernel knows, so the kernel fills it in (RFC 3542,
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
