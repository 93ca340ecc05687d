"""The names of ICMP errors, as `monlat_probe_errors_total` shows them (RFC 792, RFC 4443)."""

from __future__ import annotations

from typing import Final

from monlat_ebpf.model import Family

_TYPES: Final = {
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
    """Return the name of an ICMP error; what is too big for a link is called the same in both families."""
    if family is Family.IPV4 and (icmp_type, code) == _FRAGMENTATION_NEEDED:
        return "icmp_packet_too_big"
    return f"icmp_{_TYPES[family].get(icmp_type, f'type_{icmp_type}')}"
