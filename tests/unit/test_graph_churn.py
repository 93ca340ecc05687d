"""A cluster of 5,000 nodes in five zones, of which 1 % are replaced in a minute: what all its agents probe.

The whole graph is made from its definition. Agents that follow the changes one by one must agree with it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Final

from monlat_ebpf.config import PeerChoice
from monlat_ebpf.discovery.coverage import Chooser
from monlat_ebpf.discovery.rings import HashRings
from monlat_ebpf.discovery.zone_pairs import zone_pairs
from tests.whole_graph import Graph, Pair, ring_graph

DEGREE: Final = 32
SIZES: Final = {"a": 2_500, "b": 1_500, "c": 900, "d": 99, "e": 1}
"""Nodes of each zone: uneven, and one alone."""

REPLACED: Final = sum(SIZES.values()) // 100
ROOM: Final = 1_000
SEED: Final = 11

ZonePairs = dict[tuple[str, str], set[Pair]]


def moved(before: Graph, after: Graph, changed: str) -> int:
    """Return how many pairs of other nodes ended or began."""
    others = before.keys() & after.keys()
    return sum(len((before[node] ^ after[node]) - {changed}) for node in others) // 2


def pairs_between(zones: Mapping[str, str], rings: HashRings) -> ZonePairs:
    return {
        (own, other): {frozenset(pair) for pair in pairs}
        for own in SIZES
        for other, pairs in zone_pairs(zones, rings.number, own).items()
        if own < other
    }


class Cluster:
    """The nodes and their zones, and agents on some of them that follow each change."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)
        self._made = 0
        self.zones: dict[str, str] = {}
        for zone, count in SIZES.items():
            for _ in range(count):
                self._join(zone)
        alone = next(node for node, zone in self.zones.items() if zone == "e")
        watched = [alone, *self._random.sample(sorted(self.zones.keys() - {alone}), 4)]
        self._choosers = {node: Chooser(node, PeerChoice.AUTO) for node in watched}

    def _join(self, zone: str) -> str:
        self._made += 1
        node = f"ip-10-{self._random.randrange(256)}-{self._made}.internal"
        self.zones[node] = zone
        return node

    def changes(self) -> Iterator[str]:
        """Let one node after the other leave, and each time another one join in its zone; yield each of both."""
        for _ in range(REPLACED):
            leaving = self._random.choice(sorted(self.zones.keys() - self._choosers.keys()))
            zone = self.zones.pop(leaving)
            yield leaving
            yield self._join(zone)

    def peers_of_watched(self) -> dict[str, frozenset[str]]:
        return {node: chooser.update(self.zones, ROOM).peers for node, chooser in self._choosers.items()}


def test_a_minute_of_churn_in_a_large_cluster() -> None:
    """Every node is always probed by K - 2 to K + 2 others; every pair of zones by two pairs of nodes.

    With each change, at most K pairs of other nodes move, and four for each other zone of those that join zones.
    """
    cluster, rings = Cluster(), HashRings(1)
    rings.update(cluster.zones.keys())
    before, zones_before = ring_graph(cluster.zones, DEGREE), pairs_between(cluster.zones, rings)
    changes = 0
    for changed in cluster.changes():
        graph = ring_graph(cluster.zones, DEGREE)
        sizes = [len(peers) for peers in graph.values()]
        assert graph.keys() == cluster.zones.keys()
        assert min(sizes) >= DEGREE - 2
        assert max(sizes) <= DEGREE + 2
        assert moved(before, graph, changed) <= DEGREE
        rings.update(cluster.zones.keys())
        between = pairs_between(cluster.zones, rings)
        assert between.keys() == set(combinations(SIZES, 2))
        assert {len(pairs) for pairs in between.values()} == {2}
        assert sum(len(between[both] ^ zones_before[both]) for both in between) <= 4 * (len(SIZES) - 1)
        joining = [pair for pairs in between.values() for pair in pairs]
        for node, peers in cluster.peers_of_watched().items():
            assert peers == graph[node] | {other for pair in joining if node in pair for other in pair - {node}}
        before, zones_before = graph, between
        changes += 1
    assert changes == 2 * REPLACED == 100
