"""IPv4, IPv6 and ICMP as bytes: what the reflector reads and writes (RFC 791, 792, 8200, 4443)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from monlat_ebpf.abi import layout
from monlat_ebpf.model import Address

PROTOCOL_ICMP = 1
PROTOCOL_ICMPV6 = 58
NEXT_HEADER_FRAGMENT = 44
NEXT_HEADER_OPTIONS = 60
ECHO_REQUEST = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
HOP_LIMIT = 64
MORE_FRAGMENTS = 0x2000
FRAGMENT_BITS = 0x3FFF  # MF and the offset
ICMP_HEADER_BYTES = 8
NO_OPERATION_OPTIONS = bytes([1, 1, 1, 0])  # three no-operations and the end of the list

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_ICMP = struct.Struct("!BBHI")
_PROBE_AT = layout.PAYLOAD.offset("sequence")
_PROBE = struct.Struct("<IQ")  # sequence and nonce are adjacent in struct payload
_MAGIC = layout.PAYLOAD_MAGIC.to_bytes(4, "little")


@dataclass(frozen=True, slots=True)
class EchoRequest:
    """An ICMP or ICMPv6 echo request.

    `packet` is the whole packet from the IP header on; `source` and `destination` are 4 or 16 bytes.
    """

    version: int
    source: bytes
    destination: bytes
    identifier: int
    sequence: int
    payload: bytes
    packet: bytes

    @property
    def probe(self) -> tuple[int, int] | None:
        """Sequence and nonce of monlat's payload, or None for another program's echo."""
        if not self.payload.startswith(_MAGIC) or len(self.payload) < _PROBE_AT + _PROBE.size:
            return None
        sequence, nonce = _PROBE.unpack_from(self.payload, _PROBE_AT)
        return sequence, nonce

    def with_nonce_flipped(self) -> EchoRequest:
        """Return the request with another nonce in its payload."""
        at = layout.PAYLOAD.offset("nonce")
        payload = bytearray(self.payload)
        payload[at : at + 8] = bytes(byte ^ 0xFF for byte in payload[at : at + 8])
        return replace(self, payload=bytes(payload))


def parse_echo_request(packet: bytes) -> EchoRequest | None:
    """Return the echo request that an IP packet holds, or None for anything else, fragments included."""
    if len(packet) < _IPV4.size:
        return None
    version = packet[0] >> 4
    if version == 4:
        start = (packet[0] & 15) * 4
        fragment = int.from_bytes(packet[6:8], "big") & FRAGMENT_BITS
        if packet[9] != PROTOCOL_ICMP or fragment:
            return None
        source, destination = packet[12:16], packet[16:20]
    elif version == 6 and len(packet) >= _IPV6.size and packet[6] == PROTOCOL_ICMPV6:
        start = _IPV6.size
        source, destination = packet[8:24], packet[24:40]
    else:
        return None
    if len(packet) < start + ICMP_HEADER_BYTES or packet[start] != ECHO_REQUEST[version]:
        return None
    _, _, _, identity = _ICMP.unpack_from(packet, start)
    payload = packet[start + ICMP_HEADER_BYTES :]
    return EchoRequest(version, source, destination, identity >> 16, identity & 0xFFFF, payload, packet)


def echo_request(source: str, destination: str, identifier: int, sequence: int, payload: bytes) -> bytes:
    """Return an echo request between two addresses of one family."""
    return _echo(ECHO_REQUEST, packed(source), packed(destination), identifier, sequence, payload)


def echo_reply(source: str, destination: str, identifier: int, sequence: int, payload: bytes) -> bytes:
    """Return an echo reply between two addresses of one family."""
    return _echo(ECHO_REPLY, packed(source), packed(destination), identifier, sequence, payload)


def _echo(kind: dict[int, int], source: bytes, destination: bytes, ident: int, sequence: int, payload: bytes) -> bytes:
    message = icmp(source, destination, kind[version_of(source)], 0, ident << 16 | sequence, payload)
    return ip(source, destination, message)


def reply_to(request: EchoRequest, source: bytes | None = None) -> bytes:
    """Return the reply of any kernel, from `source` or from the requested address."""
    return ip(source or request.destination, request.source, reply_message(request, source))


def reply_message(request: EchoRequest, source: bytes | None = None) -> bytes:
    """Return the ICMP part of the reply."""
    identity = request.identifier << 16 | request.sequence
    source = source or request.destination
    return icmp(source, request.source, ECHO_REPLY[request.version], 0, identity, request.payload)


def icmp(source: bytes, destination: bytes, kind: int, code: int, rest: int, payload: bytes) -> bytes:
    """Return an ICMP message, or ICMPv6 between IPv6 addresses; `rest` is the header's second word."""
    message = _ICMP.pack(kind, code, 0, rest) + payload
    pseudo = b""
    if len(source) == 16:
        pseudo = source + destination + struct.pack("!II", len(message), PROTOCOL_ICMPV6)
    return message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]


def ip(source: bytes, destination: bytes, message: bytes) -> bytes:
    """Return an IP packet around an ICMP message."""
    if len(source) == 4:
        return ipv4(source, destination, message)
    return ipv6(source, destination, PROTOCOL_ICMPV6, message)


def ipv4(source: bytes, destination: bytes, message: bytes, options: bytes = b"", fragment: int = 0) -> bytes:
    """Return an IPv4 packet; `options` is a multiple of 4 bytes, `fragment` the flags and offset word."""
    words = 5 + len(options) // 4
    length = words * 4 + len(message)
    fields = (0x40 | words, 0, length, 0, fragment, HOP_LIMIT, PROTOCOL_ICMP)
    header = _IPV4.pack(*fields, 0, source, destination) + options
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + message


def ipv6(source: bytes, destination: bytes, next_header: int, message: bytes) -> bytes:
    """Return an IPv6 packet; extension headers, if any, are the start of `message`."""
    return _IPV6.pack(0x60000000, len(message), next_header, HOP_LIMIT, source, destination) + message


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of `data`; 0 when `data` contains its right checksum.

    2^16 is 1 modulo 0xffff, so the one's complement sum of all 16-bit words is one remainder.
    """
    if len(data) % 2:
        data += b"\0"
    total = int.from_bytes(data, "big")
    return 0xFFFF - (total % 0xFFFF or (0xFFFF if total else 0))


def version_of(address: bytes) -> int:
    """Return 4 or 6."""
    return 4 if len(address) == 4 else 6


def address_of(packed: bytes) -> Address:
    """Return 4 or 16 bytes as an address."""
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def packed(address: str) -> bytes:
    """Return an address in its 4 or 16 bytes."""
    return (IPv6Address(address) if ":" in address else IPv4Address(address)).packed
