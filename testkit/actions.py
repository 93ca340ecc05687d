"""What the reflector can do with an echo request. Each action makes packets from it and reads no clock.

All checksums are right unless an action says otherwise.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import NamedTuple, Protocol

from testkit import packets
from testkit.packets import EchoRequest


class Outgoing(NamedTuple):
    """A packet to write `after_ns` later than the plan's delay; with a VLAN tag control word, tagged."""

    packet: bytes
    after_ns: int = 0
    tag: int | None = None


class Action(Protocol):
    """One way to treat a request; hashable, so that records can be counted by it."""

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return what to write for `request`, in the order of writing; at most two packets."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer as any kernel would, `extra_ns` later than the plan's delay."""

    extra_ns: int = 0

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return the plain answer."""
        return (Outgoing(packets.reply_to(request), self.extra_ns),)


@dataclass(frozen=True, slots=True)
class Drop:
    """Do not answer."""

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return nothing."""
        return ()


@dataclass(frozen=True, slots=True)
class Double:
    """Answer twice, the second time `after_ns` later."""

    after_ns: int = 0

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return the same answer twice."""
        reply = packets.reply_to(request)
        return (Outgoing(reply), Outgoing(reply, self.after_ns))


@dataclass(frozen=True, slots=True)
class Reorder:
    """Hold the answer back until the same address has answered another request."""

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return the plain answer; the reflector's loop holds it."""
        return (Outgoing(packets.reply_to(request)),)


@dataclass(frozen=True, slots=True)
class FlipNonce:
    """Answer with another nonce, as a forger would that does not know ours."""

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return the answer to a request that was never sent."""
        return (Outgoing(packets.reply_to(request.with_nonce_flipped())),)


@dataclass(frozen=True, slots=True)
class CorruptByte:
    """Answer with the last byte of the payload flipped on the way: the ICMP checksum no longer fits."""

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return the broken answer."""
        reply = packets.reply_to(request)
        return (Outgoing(reply[:-1] + bytes([reply[-1] ^ 0xFF])),)


@dataclass(frozen=True, slots=True)
class WrongAddress:
    """Answer from `source`, or from the requested address with its last bit flipped."""

    source: str | None = None

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return the answer with the other source address."""
        asked = request.destination
        source = ip_address(self.source).packed if self.source else asked[:-1] + bytes([asked[-1] ^ 1])
        return (Outgoing(packets.reply_to(request, source)),)


@dataclass(frozen=True, slots=True)
class IcmpError:
    """Send an ICMP or ICMPv6 error of `kind` and `code` that quotes the request's first `quote_bytes`.

    The quote begins with the request's IP header (20 or 40 bytes) and its ICMP header (8); None quotes all.
    `value` is the second word of the error's header: the MTU, where there is one. The error comes from
    `source`, or from the requested address.
    """

    kind: int
    code: int
    quote_bytes: int | None = None
    value: int = 0
    source: str | None = None

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return the error."""
        source = ip_address(self.source).packed if self.source else request.destination
        quote = request.packet[: self.quote_bytes]
        message = packets.icmp(source, request.source, self.kind, self.code, self.value, quote)
        return (Outgoing(packets.ip(source, request.source, message)),)


@dataclass(frozen=True, slots=True)
class TruncatePayload:
    """Answer with only the first `length` bytes of the payload; every length field agrees."""

    length: int

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return the short answer."""
        return (Outgoing(packets.reply_to(replace(request, payload=request.payload[: self.length]))),)


@dataclass(frozen=True, slots=True)
class AddOptions:
    """Answer with IP options: no-operations in IPv4, an empty destination options header in IPv6."""

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return the answer with the longer header."""
        message = packets.reply_message(request)
        if request.version == 4:
            options = packets.NO_OPERATION_OPTIONS
            return (Outgoing(packets.ipv4(request.destination, request.source, message, options)),)
        header = bytes([packets.PROTOCOL_ICMPV6, 0, 1, 4, 0, 0, 0, 0])  # one PadN of four bytes
        return (_ipv6_outgoing(request, packets.NEXT_HEADER_OPTIONS, header + message),)


@dataclass(frozen=True, slots=True)
class Fragment:
    """Answer with a first fragment; the rest never comes."""

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return the whole answer, marked as a first fragment; its length is cut to a multiple of 8."""
        message = packets.reply_message(request)
        message = message[: len(message) & ~7]
        if request.version == 4:
            fragment = packets.MORE_FRAGMENTS
            return (Outgoing(packets.ipv4(request.destination, request.source, message, fragment=fragment)),)
        header = struct.pack("!BBHI", packets.PROTOCOL_ICMPV6, 0, 1, request.sequence)  # offset 0, more to come
        return (_ipv6_outgoing(request, packets.NEXT_HEADER_FRAGMENT, header + message),)


@dataclass(frozen=True, slots=True)
class FragmentWhole:
    """Answer in two fragments, which both come."""

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return the answer in two fragments; the first has 32 bytes."""
        message, at = packets.reply_message(request), 32
        if request.version == 4:
            ends = request.destination, request.source
            return (
                Outgoing(packets.ipv4(*ends, message[:at], fragment=packets.MORE_FRAGMENTS)),
                Outgoing(packets.ipv4(*ends, message[at:], fragment=at // 8)),
            )
        return tuple(
            _ipv6_outgoing(
                request,
                packets.NEXT_HEADER_FRAGMENT,
                struct.pack("!BBHI", packets.PROTOCOL_ICMPV6, 0, offset, request.sequence) + part,
            )
            for offset, part in ((1, message[:at]), (at, message[at:]))  # the lowest bit: more to come
        )


@dataclass(frozen=True, slots=True)
class TwoExtensionHeaders:
    """Answer behind two destination options headers (RFC 8200) in IPv6, as any kernel would in IPv4."""

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return the answer with both headers."""
        if request.version == 4:
            return (Outgoing(packets.reply_to(request)),)
        padding = bytes([0, 1, 4, 0, 0, 0, 0])  # one PadN of four bytes
        headers = bytes([packets.NEXT_HEADER_OPTIONS]) + padding + bytes([packets.PROTOCOL_ICMPV6]) + padding
        return (_ipv6_outgoing(request, packets.NEXT_HEADER_OPTIONS, headers + packets.reply_message(request)),)


@dataclass(frozen=True, slots=True)
class Tag:
    """Answer in a frame with an 802.1Q tag; only on a TAP device.

    VLAN 0 is a priority tag, which every kernel removes by itself.
    """

    vlan: int = 0
    priority: int = 0

    def answers(self, request: EchoRequest) -> tuple[Outgoing, ...]:
        """Return the plain answer with its tag."""
        return (Outgoing(packets.reply_to(request), tag=self.priority << 13 | self.vlan),)


def _ipv6_outgoing(request: EchoRequest, next_header: int, message: bytes) -> Outgoing:
    return Outgoing(packets.ipv6(request.destination, request.source, next_header, message))
