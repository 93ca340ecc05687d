"""The kernel's filters for a receiving socket: only replies and ICMP errors pass that carry or quote our magic.

The kernel offers every ICMP packet of the host to every raw ICMP socket. A filter by type comes first and costs
nothing. Then a classic BPF program (https://docs.kernel.org/networking/filter.html) checks for the magic at its offset
in the packet. A load beyond the end of the packet drops the packet.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.echo import ECHO_REQUEST
from monlat_ebpf.model import Family
from monlat_ebpf.sources.raw_sockets import BPF_INSTRUCTION, BPF_RETURN, attach_filter
from monlat_ebpf.sources.socket.messages import ECHO_REPLY, IPV4_ERRORS, LONGEST_IPV6_ERROR, MAGIC_AND_VERSION

_SOL_RAW: Final = 255
_ICMP_FILTER: Final = 1  # linux/icmp.h; a set bit blocks its type
_ICMP6_FILTER: Final = 1  # linux/icmpv6.h; likewise

_LOAD_BYTE_AT: Final = 0x30  # linux/filter.h, linux/bpf_common.h
_LOAD_BYTE_FROM_X: Final = 0x50
_LOAD_WORD_FROM_X: Final = 0x40
_LOAD_LENGTH: Final = 0x80
_LOAD_X: Final = 0x01
_LOAD_X_HEADER_BYTES: Final = 0xB1  # four times the low half of a byte: the length of an IPv4 header
_AND: Final = 0x54
_SHIFT_LEFT: Final = 0x64
_ADD: Final = 0x04
_ADD_X: Final = 0x0C
_MOVE_TO_X: Final = 0x07
_IF_EQUAL: Final = 0x15
_IF_GREATER: Final = 0x25

_LONGEST_PACKET: Final = 576
"""The longest ICMP error of RFC 1812, as in `bpf/packet.h`."""
_IPV6_HEADER_BYTES: Final = 40
_MAGIC: Final = int.from_bytes(MAGIC_AND_VERSION[:4], "big")
_WHOLE: Final = 0xFFFFFFFF


class _Step(NamedTuple):
    """One instruction; a jump goes to the label `yes` or `no`, or to the next instruction if that is empty."""

    code: int
    operand: int = 0
    yes: str = ""
    no: str = ""


_ENDING: Final[Sequence[_Step | str]] = (
    # X points to the ICMP header that the payload follows
    "payload",
    _Step(_LOAD_WORD_FROM_X, 8),
    _Step(_IF_EQUAL, _MAGIC, no="drop"),
    _Step(_LOAD_BYTE_FROM_X, 12),
    _Step(_IF_EQUAL, layout.PAYLOAD_VERSION, no="drop"),
    _Step(BPF_RETURN, _WHOLE),
    "drop",
    _Step(BPF_RETURN, 0),
)

_IPV4: Final[Sequence[_Step | str]] = (  # the packet begins with its IPv4 header
    _Step(_LOAD_LENGTH),
    _Step(_IF_GREATER, _LONGEST_PACKET, yes="drop"),
    _Step(_LOAD_X_HEADER_BYTES, 0),
    _Step(_LOAD_BYTE_FROM_X, 0),
    _Step(_IF_EQUAL, ECHO_REPLY[Family.IPV4], yes="payload"),
    _Step(_LOAD_BYTE_FROM_X, 8 + 9),  # protocol of the quoted packet
    _Step(_IF_EQUAL, socket.IPPROTO_ICMP, no="drop"),
    _Step(_LOAD_BYTE_FROM_X, 8),
    _Step(_AND, 0xF0),
    _Step(_IF_EQUAL, 0x40, no="drop"),
    _Step(_LOAD_BYTE_FROM_X, 8),
    _Step(_AND, 0x0F),
    _Step(_SHIFT_LEFT, 2),
    _Step(_ADD, 8),
    _Step(_ADD_X),
    _Step(_MOVE_TO_X),
    _Step(_LOAD_BYTE_FROM_X, 0),
    _Step(_IF_EQUAL, ECHO_REQUEST[Family.IPV4], no="drop"),
    *_ENDING,
)

_IPV6: Final[Sequence[_Step | str]] = (  # the packet begins with its ICMPv6 header
    _Step(_LOAD_LENGTH),
    _Step(_IF_GREATER, _LONGEST_PACKET - _IPV6_HEADER_BYTES, yes="drop"),
    _Step(_LOAD_X, 0),
    _Step(_LOAD_BYTE_AT, 0),
    _Step(_IF_EQUAL, ECHO_REPLY[Family.IPV6], yes="payload"),
    _Step(_LOAD_BYTE_AT, 8),
    _Step(_AND, 0xF0),
    _Step(_IF_EQUAL, 0x60, no="drop"),
    _Step(_LOAD_BYTE_AT, 8 + 6),  # next header of the quoted packet
    _Step(_IF_EQUAL, socket.IPPROTO_ICMPV6, no="drop"),
    _Step(_LOAD_X, 8 + _IPV6_HEADER_BYTES),
    _Step(_LOAD_BYTE_FROM_X, 0),
    _Step(_IF_EQUAL, ECHO_REQUEST[Family.IPV6], no="drop"),
    *_ENDING,
)


def assemble(steps: Sequence[_Step | str]) -> bytes:
    """Return the program as an array of struct sock_filter, with labels resolved."""
    labels: dict[str, int] = {}
    program: list[_Step] = []
    for step in steps:
        if isinstance(step, str):
            labels[step] = len(program)
        else:
            program.append(step)

    def distance(label: str, at: int) -> int:
        return labels[label] - at - 1 if label else 0

    return b"".join(
        BPF_INSTRUCTION.pack(step.code, distance(step.yes, at), distance(step.no, at), step.operand)
        for at, step in enumerate(program)
    )


PROGRAMS: Final = {Family.IPV4: assemble(_IPV4), Family.IPV6: assemble(_IPV6)}


def attach_filters(raw: socket.socket, family: Family) -> None:
    """Attach the filters to `raw`. Raises OSError."""
    if family is Family.IPV4:
        passed = sum(1 << kind for kind in (ECHO_REPLY[family], *IPV4_ERRORS))
        raw.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", ~passed & _WHOLE))
    else:
        passed = sum(1 << kind for kind in (ECHO_REPLY[family], *range(1, LONGEST_IPV6_ERROR + 1)))
        raw.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, (~passed & ((1 << 256) - 1)).to_bytes(32, "little"))
    attach_filter(raw, PROGRAMS[family])
