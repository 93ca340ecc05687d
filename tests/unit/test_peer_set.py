"""How many of the listed peers are probed, and what is said about the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from prometheus_client import CollectorRegistry

from monlat_ebpf.discovery.peer_set import PeerSet
from monlat_ebpf.model import Peer


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
        "23 other nodes are listed, and --max-peers (MONLAT_MAX_PEERS) allows 6: 6 are probed, chosen by name so that "
        "they probe this node, too. Raise it on all nodes",
        "all 6 listed nodes are probed again",
    ]
