"""Which addresses the doctor probes beside its own."""

from __future__ import annotations

from ipaddress import ip_address

from monlat_ebpf.doctor.destinations import MOST_OF_AGENT, Destination, choose
from monlat_ebpf.exposition.api import PairDocument, pair_document
from monlat_ebpf.host.addresses import Route
from monlat_ebpf.model import Address, Family
from tests.unit.snapshots import ANSWERING, SMALL_CLUSTER

GATEWAYS = [Route("eth0", "10.0.0.254", ""), Route("eth0", "fe80::1", ""), Route("wg0", "", "")]


def pair(to: str, address: str, device: str) -> PairDocument:
    family = Family.of(ip_address(address))
    return {**pair_document(SMALL_CLUSTER, ANSWERING), "to": to, "address": address, "device": device, "family": family}


def chosen(given: list[Address], pairs: list[PairDocument]) -> list[tuple[str, str]]:
    return [(str(address), owner) for address, owner in choose(given, pairs, GATEWAYS)]


def test_given_addresses_replace_all_others() -> None:
    """Each once, whatever the agent and the routes say."""
    given = [ip_address("192.0.2.7"), ip_address("2001:db8::7"), ip_address("192.0.2.7")]
    assert chosen(given, [pair("node2", "10.0.0.2", "eth0")]) == [("192.0.2.7", ""), ("2001:db8::7", "")]


def test_gateways_of_both_families_without_an_agent() -> None:
    """A link-local one with its device; a route without a gateway has no address to probe."""
    assert chosen([], []) == [("10.0.0.254", "gateway"), ("fe80::1%eth0", "gateway")]


def test_peers_of_the_agent_replace_the_gateway_of_their_family() -> None:
    """IPv4 has a peer; IPv6 has the gateway only."""
    assert chosen([], [pair("node2", "10.0.0.2", "eth0")]) == [("10.0.0.2", "node2"), ("fe80::1%eth0", "gateway")]


def test_each_device_of_the_agent_comes_first() -> None:
    """Of 13 peers on eth0 and one on eth1, those tested are one of each device, then the next ones of eth0."""
    pairs = [pair(f"node{number}", f"10.0.0.{number}", "eth0") for number in range(2, 15)]
    pairs.append(pair("node99", "10.0.9.99", "eth1"))
    peers = choose([], pairs, [])
    assert len(peers) == MOST_OF_AGENT
    assert peers[:3] == [
        Destination(ip_address("10.0.0.2"), "node2"),
        Destination(ip_address("10.0.9.99"), "node99"),
        Destination(ip_address("10.0.0.3"), "node3"),
    ]
