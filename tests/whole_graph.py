"""All pairs of nodes that `--probe-neighbours K` probes, made from the definition in docs/sizing.md.

An agent finds its own pairs alone, and follows changes. Here all rings are sorted, and all pairs of nodes are tried.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import combinations, product

Graph = dict[str, set[str]]
Pair = frozenset[str]


@cache
def positions(node: str, rings: int) -> tuple[int, ...]:
    """Return where a node stands in each ring."""
    digest = hashlib.shake_128(node.encode()).digest(8 + 4 * rings)
    return tuple(int.from_bytes(digest[start : start + 4], "big") for start in range(8, len(digest), 4))


def number_of(node: str) -> int:
    """Return what is added to make the hash of a pair of nodes in two zones."""
    return int.from_bytes(hashlib.shake_128(node.encode()).digest(8), "big")


def ring_graph(nodes: Iterable[str], degree: int) -> Graph:
    """Return the peers of each node: those beside it in each ring, and what it or they need of the first ring."""
    by_node = {node: positions(node, degree // 2) for node in sorted(nodes)}
    graph: Graph = {node: set() for node in by_node}
    rings = [sorted(by_node, key=lambda node: by_node[node][number]) for number in range(degree // 2)]
    for ring in rings:
        for before, after in zip(ring, [*ring[1:], ring[0]], strict=True):
            graph[before].add(after)
            graph[after].add(before)
    first, needed = rings[0], []
    for at, node in enumerate(first):
        peers, distance = set(graph[node]), 1
        while len(peers) < degree - 1:
            distance += 1
            more = {first[at - distance], first[(at + distance) % len(first)]}
            needed += [(node, other) for other in more]
            peers |= more
    add_pairs(graph, needed)
    return graph


def add_pairs(graph: Graph, pairs: Iterable[Iterable[str]]) -> None:
    for one, other in pairs:
        graph[one].add(other)
        graph[other].add(one)


def least_pairs(ours: Iterable[str], theirs: Iterable[str], numbers: Mapping[str, int]) -> set[Pair]:
    """Return the pair of nodes of two zones with the least hash, and the least that shares no node with it.

    The node of a zone of one node may be shared.
    """
    members = [list(ours), list(theirs)]
    hashed = [(sum(numbers[node] for node in pair) % 2**64, sorted(pair), pair) for pair in product(*members)]
    first, *others = [pair for *_, pair in sorted(hashed)]
    alone = {node for zone in members for node in zone if len(zone) == 1}
    rest = [pair for pair in others if set(pair) & set(first) <= alone]
    return {frozenset(pair) for pair in (first, *rest[:1])}


def whole_graph(zones: Mapping[str, str], degree: int) -> Graph:
    """Return the peers of each node, with those for the pairs of zones. `zones` has the zone of each node."""
    graph = ring_graph(zones, degree)
    members = {zone: [node for node in zones if zones[node] == zone] for zone in set(zones.values())}
    numbers = {node: number_of(node) for node in zones}
    for one, two in combinations(sorted(members), 2):
        add_pairs(graph, least_pairs(members[one], members[two], numbers))
    return graph
