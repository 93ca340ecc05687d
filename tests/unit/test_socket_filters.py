"""The filter, run by the kernel: a Unix socket accepts the same programs and needs no rights."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.model import Family
from monlat_ebpf.sources.raw_sockets import attach_filter
from monlat_ebpf.sources.socket.filters import PROGRAMS
from monlat_ebpf.sources.socket.messages import parse_ipv4, parse_ipv6
from tests.unit.test_socket_messages import PAYLOAD, error, reply

ERROR = {4: 3, 6: 1}


class Filtered:
    """A pair of sockets; one receives through the filter for an IP version."""

    def __init__(self, version: int) -> None:
        self._start = 40 if version == 6 else 0
        self._sender, self._receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        attach_filter(self._receiver, PROGRAMS[Family.IPV4 if version == 4 else Family.IPV6])

    def passes(self, packet: bytes) -> bool:
        """Return whether an IP packet passes, in the form that a raw socket of its family receives."""
        self._sender.send(packet[self._start :])
        try:
            self._receiver.recv(4096)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._sender.close()
        self._receiver.close()


@pytest.fixture(params=[4, 6])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def filtered(version: int) -> Iterator[Filtered]:
    pair = Filtered(version)
    yield pair
    pair.close()


def test_our_replies_and_errors_pass(version: int, filtered: Filtered) -> None:
    """A reply, a short reply, an error with a whole quote, and an error whose quote ends after the version."""
    header = 20 if version == 4 else 40
    assert filtered.passes(reply(version))
    assert filtered.passes(reply(version, PAYLOAD[:5]))
    assert filtered.passes(error(version, ERROR[version]))
    assert filtered.passes(error(version, ERROR[version], header + 8 + 5))


def test_packets_of_other_programs_do_not_pass(version: int, filtered: Filtered) -> None:
    """No magic, another version, no payload, a quote of another packet, or a quote that ends before the version."""
    header = 20 if version == 4 else 40
    quote_at = header + 8
    of_udp = bytearray(error(version, ERROR[version]))
    of_udp[quote_at + (9 if version == 4 else 6)] = 17
    of_reply = bytearray(error(version, ERROR[version]))
    of_reply[quote_at + header] = 0 if version == 4 else 129
    of_another_family = bytearray(error(version, ERROR[version]))
    of_another_family[quote_at] = 0x65 if version == 4 else 0x40
    for packet in (
        reply(version, bytes(56)),
        reply(version, PAYLOAD[:4] + b"\x02" + PAYLOAD[5:]),
        reply(version, PAYLOAD[:4]),
        reply(version, b""),
        error(version, ERROR[version], header + 8 + 4),
        error(version, ERROR[version], 0),
        error(version, ERROR[version], payload=bytes(56)),
        bytes(of_udp),
        bytes(of_reply),
        bytes(of_another_family),
    ):
        assert not filtered.passes(packet), packet.hex()


def test_packet_longer_than_any_error_does_not_pass(version: int, filtered: Filtered) -> None:
    """576 bytes in all pass, 577 do not."""
    header = 20 if version == 4 else 40
    longest = 576 - header - 8
    assert filtered.passes(reply(version, PAYLOAD + bytes(longest - 56)))
    assert not filtered.passes(reply(version, PAYLOAD + bytes(longest - 55)))


@given(
    ip_version=st.sampled_from([4, 6]),
    flips=st.dictionaries(st.integers(0, 199), st.integers(0, 255), max_size=3),
    is_error=st.booleans(),
    length=st.integers(1, 200),
)
def test_filter_passes_everything_that_the_parser_accepts(
    ip_version: int, flips: dict[int, int], is_error: bool, length: int
) -> None:
    """Any change to a packet: if the parser accepts it, so does the filter."""
    packet = bytearray(error(ip_version, ERROR[ip_version]) if is_error else reply(ip_version))
    for at, byte in flips.items():
        packet[at % len(packet)] = byte
    start = 40 if ip_version == 6 else 0
    offered = bytes(packet)[: start + length]
    message = parse_ipv6(offered[40:], bytes(16), bytes(16)) if ip_version == 6 else parse_ipv4(offered)
    pair = Filtered(ip_version)
    try:
        assert message is None or pair.passes(offered)
    finally:
        pair.close()
