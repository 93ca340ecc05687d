"""The bytes of a probe, against the wire format and RFC 1071; and the names of ICMP errors (RFC 792, RFC 4443)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.abi.echo import Feedback, echo_request, error_name
from monlat_ebpf.model import Family

PAYLOAD = bytes.fromhex(
    "6d6e6c74"  # "mnlt"
    "01 00 0000"  # version, known, reserved
    "04030201"  # slot
    "08070605"  # sequence
    "1817161514131211" + "00" * 32  # nonce  # feedback and stream
)


def internet_checksum(message: bytes) -> int:
    """RFC 1071, section 4.1, word by word."""
    total = 0
    for word in zip(message[::2], message[1::2], strict=True):
        total += word[0] << 8 | word[1]
        if total > 0xFFFF:
            total -= 0xFFFF
    return total


def test_ipv4_request() -> None:
    """Type 8, code 0, a right checksum, identifier, the lower half of the sequence; then the payload, little-endian."""
    packet = echo_request(Family.IPV4, 0xABCD, 0x01020304, 0x05060708, 0x1112131415161718)
    assert packet[:2] == b"\x08\x00"
    assert packet[4:8] == bytes.fromhex("abcd 0708")
    assert packet[8:] == PAYLOAD
    assert len(packet) == 64
    assert internet_checksum(packet) == 0xFFFF


def test_feedback_is_in_the_payload() -> None:
    """How many sequences are known is the sixth byte; report and stream are the last 32. A sequence has 32 bits."""
    feedback = Feedback(bytes(range(24)), 16, 0xF7F6F5F4F3F2F1F0)
    packet = echo_request(Family.IPV4, 0xABCD, 0x01020304, 0x905060708, 0x1112131415161718, feedback)
    stream = bytes(range(0xF0, 0xF8))
    assert packet[8:] == PAYLOAD[:5] + b"\x10" + PAYLOAD[6:24] + bytes(range(24)) + stream
    assert internet_checksum(packet) == 0xFFFF


def test_ipv6_request() -> None:
    """Type 128 and no checksum: the kernel fills it in, because it covers the addresses."""
    packet = echo_request(Family.IPV6, 0xABCD, 0x01020304, 0x05060708, 0x1112131415161718)
    assert packet == bytes.fromhex("80 00 0000 abcd 0708") + PAYLOAD


@pytest.mark.parametrize(
    ("sequence", "in_header", "in_payload"),
    [(2**32 - 1, "ffff", "ffffffff"), (2**32, "0000", "00000000"), (2**32 + 0x12345, "2345", "45230100")],
)
@pytest.mark.parametrize("family", Family)
def test_sequence_wraps(family: Family, sequence: int, in_header: str, in_payload: str) -> None:
    """The payload has the lowest 32 bits of it, little-endian, and the ICMP header the lowest 16, big-endian."""
    packet = echo_request(family, 7, 3, sequence, 9)
    assert (packet[6:8].hex(), packet[20:24].hex()) == (in_header, in_payload)


@given(
    identifier=st.integers(0, 0xFFFF),
    slot=st.integers(0, 2**32 - 1),
    sequence=st.integers(0, 2**32 - 1),
    nonce=st.integers(0, 2**64 - 1),
)
def test_checksum_of_any_request(identifier: int, slot: int, sequence: int, nonce: int) -> None:
    """Whatever the fields hold, all words including the checksum add up to ones (RFC 1071)."""
    assert internet_checksum(echo_request(Family.IPV4, identifier, slot, sequence, nonce)) == 0xFFFF


def test_checksum_that_carries_twice() -> None:
    """The sum of a message of ones overflows again when its carry is added."""
    assert internet_checksum(echo_request(Family.IPV4, 0xFFFF, 2**32 - 1, 2**32 - 1, 2**64 - 1)) == 0xFFFF


@pytest.mark.parametrize(
    ("family", "icmp_type", "code", "name"),
    [
        (Family.IPV4, 3, 1, "icmp_destination_unreachable"),
        (Family.IPV4, 3, 4, "icmp_packet_too_big"),
        (Family.IPV4, 4, 0, "icmp_source_quench"),
        (Family.IPV4, 11, 0, "icmp_time_exceeded"),
        (Family.IPV4, 12, 4, "icmp_parameter_problem"),
        (Family.IPV4, 42, 0, "icmp_type_42"),
        (Family.IPV6, 1, 4, "icmp_destination_unreachable"),
        (Family.IPV6, 2, 0, "icmp_packet_too_big"),
        (Family.IPV6, 3, 4, "icmp_time_exceeded"),
        (Family.IPV6, 4, 1, "icmp_parameter_problem"),
        (Family.IPV6, 127, 0, "icmp_type_127"),
    ],
)
def test_name_of_an_error(family: Family, icmp_type: int, code: int, name: str) -> None:
    """The same error has the same name in both families; a type without a name shows its number."""
    assert error_name(family, icmp_type, code) == name
