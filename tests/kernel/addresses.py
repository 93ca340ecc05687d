"""Peers behind the reflector: addresses for which it answers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from monlat_ebpf.model import Peer

_IPV4 = IPv4Address("10.99.1.0")
_IPV6 = IPv6Address("fd99::1:0")


def reflected_peers(wanted: int) -> list[Peer]:
    """Return `wanted` peers of one address each, IPv4 and IPv6 in turn."""
    return [Peer(f"peer{number}", ((_IPV4 + number, _IPV6 + number)[number % 2],)) for number in range(wanted)]
