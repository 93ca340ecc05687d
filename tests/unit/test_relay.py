"""What the relay of the test bed reads of a frame."""

from __future__ import annotations

import pytest

from monlat_ebpf.testbed.relay import destination_of

ETHERNET = bytes(12)
HEADER = bytes.fromhex("450000540000400040010000") + bytes((10, 77, 0, 1))  # ICMP from 10.77.0.1


@pytest.mark.parametrize(
    ("frame", "address"),
    [
        (ETHERNET + b"\x08\x00" + HEADER + bytes((10, 77, 0, 2)), bytes((10, 77, 0, 2))),
        (ETHERNET + b"\x08\x06" + HEADER + bytes((10, 77, 0, 2)), None),  # ARP
        (ETHERNET + b"\x86\xdd" + bytes(40), None),  # IPv6
        (ETHERNET, None),
        (b"", None),
    ],
)
def test_destination_is_of_ipv4_alone(frame: bytes, address: bytes | None) -> None:
    """Other frames are not delayed."""
    assert destination_of(frame) == address
