"""The names of ICMP errors (RFC 792, RFC 4443)."""

from __future__ import annotations

import pytest

from monlat_ebpf.abi.icmp_names import error_name
from monlat_ebpf.model import Family


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
    """One name for the same thing in both families; a type without a name shows its number."""
    assert error_name(family, icmp_type, code) == name
