"""How many of the listed peers are probed, and what is said about the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from prometheus_client import CollectorRegistry

from monlat_ebpf.discovery.peer_set import PeerSet
from monlat_ebpf.model import Peer, PeerKind


def node(number: int) -> Peer:
    return Peer(f"n{number}", (ip_address(f"10.0.0.{number}"),))


class Probed:
    """A peer set of the node `me`, and what it published last."""

    def __init__(self, max_peers: int) -> None:
        self.registry = CollectorRegistry()
        self.peers: Sequence[Peer] = ()
        self.set = PeerSet(self._publish, node_name="me", max_peers=max_peers, registry=self.registry)

    def _publish(self, peers: Sequence[Peer]) -> None:
        self.peers = peers

    def counts(self) -> tuple[float | None, float | None]:
        """The numbers of listed peers, and of those over the limit."""
        names = ("monlat_discovery_peers_listed", "monlat_discovery_peers_over_limit")
        listed, over_limit = (self.registry.get_sample_value(name) for name in names)
        return listed, over_limit


def test_all_nodes_are_probed_up_to_the_limit() -> None:
    """Seven of seven, in the order of the list."""
    probed = Probed(max_peers=7)
    nodes = [node(number) for number in range(1, 8)]
    probed.set.set_nodes(nodes)
    assert list(probed.peers) == nodes
    assert probed.counts() == (7, 0)


def test_longer_list_is_never_rejected(caplog: pytest.LogCaptureFixture) -> None:
    """A first list of 23 nodes where 6 are allowed: 6 are probed. The next list is followed, within the limit."""
    caplog.set_level(logging.INFO)
    probed = Probed(max_peers=6)
    probed.set.set_nodes([node(number) for number in range(1, 24)])
    assert len(probed.peers) == 6
    assert probed.counts() == (23, 17)
    gone = probed.peers[0]
    rest = [node(number) for number in range(1, 24) if node(number) != gone]
    before = set(probed.peers)
    probed.set.set_nodes(rest)
    assert len(probed.peers) == 6
    assert set(probed.peers) > before - {gone}
    assert probed.counts() == (22, 16)
    probed.set.set_nodes(rest[:6])
    assert list(probed.peers) == rest[:6]
    assert probed.counts() == (6, 0)
    assert [record.getMessage() for record in caplog.records] == [
        "23 peers are listed, and --max-peers (MONLAT_MAX_PEERS) allows 6: 6 are probed, of the nodes those that probe "
        "this node, too. Raise it on all nodes",
        "all 6 listed peers are probed again",
    ]


def target(name: str, *addresses: str) -> Peer:
    return Peer(name, tuple(map(ip_address, addresses)), kind=PeerKind.TARGET)


def test_targets_are_probed_beside_the_nodes() -> None:
    """Whichever comes first; each list replaces the one before it. Only nodes make the agent ready."""
    probed = Probed(max_peers=7)
    gateway, dns = target("gateway", "192.0.2.1"), target("dns", "192.0.2.53", "2001:db8::53")
    probed.set.set_targets([gateway])
    assert (list(probed.peers), probed.set.knows_nodes) == ([gateway], False)
    probed.set.set_nodes([node(1), node(2)])
    assert (list(probed.peers), probed.set.knows_nodes) == ([node(1), node(2), gateway], True)
    probed.set.set_targets([dns])
    assert list(probed.peers) == [node(1), node(2), dns]
    probed.set.set_nodes([])
    assert list(probed.peers) == [dns]
    assert probed.counts() == (1, 0)


def test_node_wins_against_a_target_with_its_address_or_name(caplog: pytest.LogCaptureFixture) -> None:
    """A warning names both, once; the target's other address is probed. When the node has gone, all are."""
    probed = Probed(max_peers=7)
    both, twin = target("both", "10.0.0.1", "2001:db8::1"), target("n2", "192.0.2.2")
    only = target("only", "10.0.0.1")
    probed.set.set_targets([both, twin, only])
    probed.set.set_nodes([node(1), node(2)])
    assert list(probed.peers) == [node(1), node(2), target("both", "2001:db8::1")]
    probed.set.set_nodes([node(1), node(2), node(3)])
    assert [record.getMessage() for record in caplog.records] == [
        "10.0.0.1 of the target both belongs to the node n1: probed for the node only",
        "target n2 is also the name of a node: only the node is probed",
        "10.0.0.1 of the target only belongs to the node n1: probed for the node only",
    ]
    probed.set.set_nodes([])
    assert list(probed.peers) == [both, twin, only]


def test_targets_leave_less_room_for_nodes() -> None:
    """Of 6 peers, 2 are targets: 4 nodes are probed, chosen as with a limit of 4."""
    probed, four = Probed(max_peers=6), Probed(max_peers=4)
    nodes = [node(number) for number in range(1, 24)]
    targets = [target(f"t{number}", f"192.0.2.{number}") for number in (1, 2)]
    four.set.set_nodes(nodes)
    probed.set.set_targets(targets)
    probed.set.set_nodes(nodes)
    assert list(probed.peers) == [*four.peers, *targets]
    assert probed.counts() == (25, 19)


def test_targets_never_leave_the_agent_without_a_node() -> None:
    """Nine targets where three peers are allowed: the first two of the file, and one node."""
    probed = Probed(max_peers=3)
    targets = [target(f"t{number}", f"192.0.2.{number}") for number in range(1, 10)]
    probed.set.set_targets(targets)
    probed.set.set_nodes([node(number) for number in range(1, 5)])
    assert len(probed.peers) == 3
    assert list(probed.peers[1:]) == targets[:2]
