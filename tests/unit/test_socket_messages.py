"""Parsing the bytes that a raw socket returns."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.probes import mapped
from monlat_ebpf.sources.socket.messages import (
    IcmpError,
    Message,
    Reply,
    Unmatched,
    find_probe_in,
    parse_ipv4,
    parse_ipv6,
)
from testkit import packets

US, PEER, ROUTER = {4: "10.1.0.1", 6: "fd01::1"}, {4: "10.1.0.2", 6: "fd01::2"}, {4: "10.1.0.9", 6: "fd01::9"}
SLOT, SEQUENCE, NONCE = 37, 5, 0x1122334455667788
PAYLOAD = struct.pack("<4sBBHIIQ32x", b"mnlt", 1, 0, 0, SLOT, SEQUENCE, NONCE)
MALFORMED = Unmatched(layout.UNMATCHED_REASONS.index("malformed_payload"))
TRUNCATED = Unmatched(layout.UNMATCHED_REASONS.index("truncated_quote"))


def parse(packet: bytes) -> Message | None:
    """Parse an IP packet as a raw socket of its family returns it."""
    if packet[0] >> 4 == 4:
        return parse_ipv4(packet)
    return parse_ipv6(packet[40:], packet[8:24], packet[24:40])


def reply(version: int, payload: bytes = PAYLOAD) -> bytes:
    return packets.echo_reply(PEER[version], US[version], 7, SEQUENCE, payload)


def error(version: int, kind: int, quoted_bytes: int | None = None, payload: bytes = PAYLOAD) -> bytes:
    quote = packets.echo_request(US[version], PEER[version], 7, SEQUENCE, payload)[:quoted_bytes]
    source, destination = ip_address(ROUTER[version]).packed, ip_address(US[version]).packed
    return packets.ip(source, destination, packets.icmp(source, destination, kind, 3, 0, quote))


@pytest.mark.parametrize("version", [4, 6])
def test_reply_is_read(version: int) -> None:
    """Address, slot and nonce of a reply are read, and its checksum is right."""
    message = parse(reply(version))
    assert isinstance(message, Reply)
    assert (message.source, message.slot, message.nonce) == (mapped(ip_address(PEER[version])), SLOT, NONCE)
    assert message.is_checksum_right()


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("from_the_end", [1, 2, 33, 55])
def test_flipped_byte_breaks_the_checksum(version: int, from_the_end: int) -> None:
    """One byte changed anywhere after the magic makes the checksum wrong."""
    packet = bytearray(reply(version))
    packet[-from_the_end] ^= 0x10
    message = parse(bytes(packet))
    if from_the_end == 55:
        assert message is None
        return
    assert isinstance(message, Reply)
    assert not message.is_checksum_right()


def test_checksum_of_icmpv6_covers_the_addresses() -> None:
    """The same message to another address has a wrong checksum."""
    packet = reply(6)
    message = parse_ipv6(packet[40:], packet[8:24], ip_address("fd01::3").packed)
    assert isinstance(message, Reply)
    assert not message.is_checksum_right()


def test_ipv4_options_are_skipped() -> None:
    """A reply after four bytes of options is read."""
    plain = reply(4)
    packet = packets.ipv4(plain[12:16], plain[16:20], plain[20:], packets.NO_OPERATION_OPTIONS)
    message = parse(packet)
    assert isinstance(message, Reply)
    assert (message.slot, message.nonce) == (SLOT, NONCE)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("length", [5, 24, 55, 57])
def test_payload_of_another_length_is_malformed(version: int, length: int) -> None:
    """A reply with magic and version, but not of 56 bytes, is malformed."""
    assert parse(reply(version, (PAYLOAD + bytes(8))[:length])) == MALFORMED


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("payload", [b"", PAYLOAD[:4], b"\x02".join((PAYLOAD[:4], PAYLOAD[5:])), bytes(56)])
def test_replies_to_other_programs_are_ignored(version: int, payload: bytes) -> None:
    """No magic, no version, or another version: an ordinary echo."""
    assert parse(reply(version, payload)) is None


@pytest.mark.parametrize(("version", "kinds"), [(4, [3, 4, 11, 12]), (6, [1, 2, 3, 4, 127])])
def test_icmp_error_is_read_from_its_quote(version: int, kinds: list[int]) -> None:
    """Type, code and destination of the quoted probe are read, for every type that is an error."""
    asked = mapped(ip_address(PEER[version]))
    for kind in kinds:
        assert parse(error(version, kind)) == IcmpError(kind, 3, asked, SLOT, NONCE)


@pytest.mark.parametrize(("version", "kinds"), [(4, [5, 8, 13]), (6, [0, 128, 134, 255])])
def test_other_icmp_types_are_not_errors(version: int, kinds: list[int]) -> None:
    """A redirect, a request or an advertisement is not an error, whatever it quotes."""
    assert [parse(error(version, kind)) for kind in kinds] == [None] * len(kinds)


@pytest.mark.parametrize(("version", "kind", "header"), [(4, 3, 20), (6, 1, 40)])
def test_quote_must_reach_the_end_of_the_nonce(version: int, kind: int, header: int) -> None:
    """8 bytes of ICMP and 24 of payload are enough; with fewer it is truncated; without the version it is ignored."""
    enough = header + 8 + 24
    assert isinstance(parse(error(version, kind, enough)), IcmpError)
    assert parse(error(version, kind, enough - 1)) == TRUNCATED
    assert parse(error(version, kind, header + 8 + 5)) == TRUNCATED
    assert parse(error(version, kind, header + 8 + 4)) is None
    assert parse(error(version, kind, 0)) is None


def test_length_in_a_quote_can_only_shorten() -> None:
    """A quoted IPv4 header of length 20 + 8 + 23 hides the rest; one of length 65535 adds nothing."""
    packet = bytearray(error(4, 3))
    struct.pack_into("!H", packet, 20 + 8 + 2, 51)
    assert parse(bytes(packet)) == TRUNCATED
    struct.pack_into("!H", packet, 20 + 8 + 2, 65535)
    assert isinstance(parse(bytes(packet)), IcmpError)


@given(
    version=st.sampled_from([4, 6]),
    cut=st.integers(0, 200),
    flips=st.dictionaries(st.integers(0, 199), st.binary(min_size=1, max_size=1), max_size=6),
    is_error=st.booleans(),
)
def test_hostile_bytes_never_raise(version: int, cut: int, flips: dict[int, bytes], is_error: bool) -> None:
    """Any packet, cut and changed, is parsed or ignored."""
    packet = bytearray(error(version, 3) if is_error else reply(version))
    for at, byte in flips.items():
        packet[at % len(packet)] = byte[0]
    start = 40 if version == 6 else 0
    ours = bytes(packet)[start : start + cut]
    message = parse_ipv6(ours, bytes(16), bytes(16)) if version == 6 else parse_ipv4(ours)
    assert message is None or isinstance(message, Reply | IcmpError | Unmatched)


@pytest.mark.parametrize("headers", [b"", bytes(14), bytes(18)])
@pytest.mark.parametrize("version", [4, 6])
def test_probe_is_found_after_any_link_header(version: int, headers: bytes) -> None:
    """Nothing, Ethernet or a VLAN tag before it, padding after it: slot and nonce are those of the request."""
    packet = headers + packets.echo_request(US[version], PEER[version], 7, SEQUENCE, PAYLOAD)
    assert find_probe_in(packet) == (SLOT, NONCE)
    assert find_probe_in(packet + bytes(4)) == (SLOT, NONCE)


@pytest.mark.parametrize("packet", [b"", bytes(98), PAYLOAD[:23], b"mnlt\x01", PAYLOAD[5:]])
def test_no_probe_is_found_in_other_packets(packet: bytes) -> None:
    """Encrypted, cut or empty packets."""
    assert find_probe_in(packet) is None
