"""How many of the listed peers are probed, and what is said about the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from prometheus_client import CollectorRegistry

from monlat_ebpf.config import PeerChoice
from monlat_ebpf.discovery.peer_set import PeerSet
from monlat_ebpf.model import Peer, PeerKind


def node(number: int, zone: str = "") -> Peer:
    return Peer(f"n{number}", (ip_address(f"10.0.0.{number}"),), zone)


class Probed:
    """A peer set of the node `me`, and what it published last."""

    def __init__(self, max_peers: int, choice: int | PeerChoice = PeerChoice.AUTO) -> None:
        self.registry = CollectorRegistry()
        self.peers: Sequence[Peer] = ()
        self.own_zone = ""
        self.set = PeerSet(
            self._publish,
            node_name="me",
            own_zone=lambda: self.own_zone,
            choice=choice,
            max_peers=max_peers,
            registry=self.registry,
        )

    def _publish(self, peers: Sequence[Peer]) -> None:
        self.peers = peers

    def counts(self) -> tuple[float | None, float | None]:
        """The numbers of listed peers, and of those over the limit."""
        names = ("monlat_discovery_peers_listed", "monlat_discovery_peers_over_limit")
        listed, over_limit = (self.registry.get_sample_value(name) for name in names)
        return listed, over_limit

    def coverage(self, *names: str) -> list[float | None]:
        """The values of `monlat_coverage_*` series without labels."""
        return [self.registry.get_sample_value(f"monlat_coverage_{name}") for name in names]

    def changes(self) -> tuple[float | None, float | None]:
        """How many nodes this one began and ceased to probe."""
        name = "monlat_coverage_peer_changes_total"
        added, removed = (self.registry.get_sample_value(name, {"change": each}) for each in ("added", "removed"))
        return added, removed


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
        "23 peers are to be probed, and --max-peers (MONLAT_MAX_PEERS) allows 6: 6 are probed, of the nodes those that "
        "probe this node, too. Raise it on all nodes",
        "all 6 peers are probed again",
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


def test_a_part_of_the_nodes_is_no_lack(caplog: pytest.LogCaptureFixture) -> None:
    """With `--probe-neighbours 2`, two of 23 nodes and the target are probed. Nothing is over the limit."""
    caplog.set_level(logging.INFO)
    probed = Probed(max_peers=1_000, choice=2)
    gateway = target("gateway", "192.0.2.1")
    probed.set.set_targets([gateway])
    probed.set.set_nodes([node(number) for number in range(1, 24)])
    assert len(probed.peers) == 3
    assert probed.peers[-1] == gateway
    assert probed.counts() == (24, 0)
    assert probed.coverage("nodes", "peers", "wanted_peers", "unprobed_nodes") == [24, 2, 2, 0]
    probed.set.set_nodes([node(1), node(2)])
    assert list(probed.peers) == [node(1), node(2), gateway]
    assert [record.getMessage() for record in caplog.records] == [
        "of 24 nodes, each probes some: this one 2, as --probe-neighbours says",
        "each of 3 nodes probes all others again",
    ]


def test_zone_of_this_node_decides_which_pairs_of_zones_it_is_in() -> None:
    """It is the only node of zone b, so both pairs of the zones a and b are its own.

    By `openssl dgst -shake128 -xoflen 12`: in the ring (bytes 8 to 11) n1 and n3 are beside it, and its number (bytes 0
    to 7) makes the least sums with those of n2 (7d77...) and n1 (8c88...).
    """
    probed = Probed(max_peers=1_000, choice=2)
    nodes = [node(number, zone="a") for number in range(1, 6)]
    probed.set.set_nodes(nodes)
    assert [peer.name for peer in probed.peers] == ["n1", "n3"]
    assert probed.coverage("zone_pairs", "own_zone_pairs", "own_zone_pairs_probed") == [0, 0, 0]
    probed.own_zone = "b"
    probed.set.set_nodes(nodes)
    assert [peer.name for peer in probed.peers] == ["n1", "n2", "n3"]
    assert probed.coverage("zone_pairs", "own_zone_pairs", "own_zone_pairs_probed") == [1, 1, 1]


def test_only_changes_of_the_list_count_as_changes() -> None:
    """Neither the targets nor the first list. Of the two nodes that are probed, one leaves, or both do."""
    probed = Probed(max_peers=1_000, choice=2)
    nodes = [node(number) for number in range(1, 24)]
    probed.set.set_targets([target("gateway", "192.0.2.1")])
    probed.set.set_nodes(nodes)
    assert probed.changes() == (0, 0)
    first = set(probed.peers[:2])
    probed.set.set_nodes([each for each in nodes if each not in first])
    assert not first & set(probed.peers)
    assert probed.changes() == (2, 2)
    probed.set.set_nodes(nodes)
    assert set(probed.peers[:2]) == first
    assert probed.changes() == (4, 4)
    probed.set.set_nodes([each for each in nodes if each != probed.peers[0]])
    assert probed.changes() == (5, 5)


def test_too_many_targets_leave_fewer_rings(caplog: pytest.LogCaptureFixture) -> None:
    """8 neighbours come to 14 at most. With 5 of 16 peers for targets, 11 are left: 6 neighbours, 10 at most."""
    probed = Probed(max_peers=16, choice=8)
    probed.set.set_nodes([node(number) for number in range(1, 101)])
    (all_wanted,) = probed.coverage("peers")
    assert all_wanted is not None
    assert 7 <= all_wanted <= 14
    probed.set.set_targets([target(f"t{number}", f"192.0.2.{number}") for number in range(1, 6)])
    peers, wanted = probed.coverage("peers", "wanted_peers")
    assert wanted == all_wanted
    assert peers is not None
    assert 5 <= peers <= 10
    assert len(probed.peers) == peers + 5
    assert probed.counts() == (105, wanted - peers)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
