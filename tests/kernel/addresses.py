"""Peers behind the reflector: addresses that it answers for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from itertools import count

from monlat_ebpf.model import Family, Peer
from monlat_ebpf.peers import TargetKey, phase
from tests.kernel.measuring import NODE

_IPV4 = IPv4Address("10.99.1.0")
_IPV6 = IPv6Address("fd99::1:0")


def reflected_peers(wanted: int) -> list[Peer]:
    """Return `wanted` peers, of IPv4 and IPv6 in turn, that are due in the first half of their interval."""
    peers: list[Peer] = []
    for number in count():
        if len(peers) == wanted:
            return peers
        address = (_IPV4 + number, _IPV6 + number)[len(peers) % 2]
        name = f"peer{number}"
        if phase(NODE, TargetKey(name, Family.of(address))) < 0.5:
            peers.append(Peer(name, (address,)))
    raise AssertionError("count() ends never")
