"""Probes leave from this node's listed address, whatever the route prefers, and while it is this host's."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

import pytest

from monlat_ebpf.abi import echo
from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.model import Address, Family
from monlat_ebpf.sources import Destination, Source
from monlat_ebpf.sources.socket.source import SocketSource
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.network import DEVICE
from testkit.links import Links
from testkit.pair import Pair
from testkit.waiting import wait_until
from tests.kernel.agents import RunningAgent, entry

LISTED = {Family.IPV4: ip_address("10.77.0.31"), Family.IPV6: ip_address("fd77::31")}
DOMAIN = {Family.IPV4: (socket.AF_INET, socket.IPPROTO_ICMP), Family.IPV6: (socket.AF_INET6, socket.IPPROTO_ICMPV6)}


def addresses_seen(source: Source, listener: socket.socket, peer: Address) -> set[Address]:
    """Send three requests through each of the two sockets; return the addresses that the peer sees them from."""
    seen: set[Address] = set()
    for number in range(6):
        now = time.monotonic_ns()
        source.table.arm(number, nonce=number + 1, sent_ns=now, deadline_ns=now + 1, address=bytes(16))
        request = echo.echo_request(Family.of(peer), source.identifier, number, number, number + 1, echo.NO_FEEDBACK)
        source.send(request, Destination(peer), answering=number % 2 == 0)
        packet, sender = b"", ("",)
        while not packet.endswith(request[8:]):
            packet, sender = listener.recvfrom(2048)
        seen.add(ip_address(sender[0].partition("%")[0]))
    return seen


@pytest.mark.parametrize("kind", [TracepointSource, SocketSource])
@pytest.mark.parametrize("family", list(Family))
def test_probes_leave_from_the_listed_address_while_it_is_there(
    kind: type[TracepointSource | SocketSource], family: Family
) -> None:
    """The route prefers the first address of the host. The listed one comes as the second, and goes again."""
    with Pair() as pair, Links(pair["node1"].namespace) as links:
        listed, peer = LISTED[family], ip_address(getattr(pair["node2"], family))
        first = ip_address(getattr(pair["node1"], family))
        interface = f"{listed}/{32 if family is Family.IPV4 else 128}"
        with pair["node2"].namespace.entered():
            listener = socket.socket(DOMAIN[family][0], socket.SOCK_RAW, DOMAIN[family][1])
        with pair["node1"].namespace.entered(), listener, closing(kind(TableSize(1))) as source:
            listener.settimeout(10)
            assert source.use_sources([listed]) == set()  # it is not this host's yet
            assert addresses_seen(source, listener, peer) == {first}
            links.add_address(DEVICE, interface)
            assert source.use_sources([listed]) == {family}
            assert addresses_seen(source, listener, peer) == {listed}
            links.delete_address(DEVICE, interface)
            assert source.use_sources([listed]) == set()
            assert addresses_seen(source, listener, peer) == {first}


def test_peer_knows_an_agent_whose_route_prefers_another_address(tmp_path: Path) -> None:
    """Each agent lists the other. One has a second address, which the list names: the other measures its dwell."""
    listed = [str(address) for address in LISTED.values()]
    with Pair() as pair, Links(pair["node1"].namespace) as links:
        for address in listed:
            links.add_address(DEVICE, f"{address}/{64 if ':' in address else 24}")
        links.wait_until_usable(DEVICE, listed)
        nodes = [entry("node1", *listed), entry("node2", pair["node2"].ipv4, pair["node2"].ipv6)]
        (tmp_path / "1").mkdir()
        with (
            RunningAgent(pair["node1"].namespace, tmp_path / "1", nodes, node="node1"),
            RunningAgent(pair["node2"].namespace, tmp_path, nodes, node="node2") as other,
        ):
            for family in Family:
                labels = {"to": "node1", "family": family.value}
                wait_until(lambda labels=labels: other.scrape().one("monlat_dwell_seconds_count", **labels) >= 11)  # type: ignore[misc]
