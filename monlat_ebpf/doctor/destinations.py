"""Which addresses beyond this host the doctor probes: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple

from monlat_ebpf.exposition.api import PairDocument
from monlat_ebpf.host.addresses import Route
from monlat_ebpf.model import Address, Family

MOST_OF_AGENT: Final = 8
"""Addresses that the agent probes: enough for the devices of a node, few enough to be read."""


class Destination(NamedTuple):
    """An address, and what the output calls its owner; "" if the user gave the address."""

    address: Address
    owner: str = ""


def choose(
    given: Sequence[Address], pairs: Iterable[PairDocument], default_routes: Iterable[Route]
) -> list[Destination]:
    """Return the addresses that the user gave. Without any: peers of the agent.

    For a family of which the agent has no peers, return the default gateways instead.
    """
    if given:
        return [Destination(address) for address in dict.fromkeys(given)]
    peers = _of_agent(pairs)
    probed = {Family.of(peer.address) for peer in peers}
    gateways = dict.fromkeys(_gateway(route) for route in default_routes if route.gateway)
    return peers + [Destination(each, "gateway") for each in gateways if Family.of(each) not in probed]


def _of_agent(pairs: Iterable[PairDocument]) -> list[Destination]:
    """Return a peer of each device and family first, then a second one of each, and so on."""
    seen: Counter[tuple[str, str]] = Counter()
    ranked = []
    for pair in pairs:
        kind = pair["device"], pair["family"]
        ranked.append((seen[kind], Destination(ip_address(pair["address"]), pair["to"])))
        seen[kind] += 1
    ranked.sort(key=lambda each: each[0])
    return [destination for _, destination in ranked[:MOST_OF_AGENT]]


def _gateway(route: Route) -> Address:
    """Return the gateway. A link-local address is complete only with its device."""
    address = ip_address(route.gateway)
    return ip_address(f"{address}%{route.device}") if address.version == 6 and address.is_link_local else address
