"""Which nodes probe each other: the same pairs on both sides, enough of them, and few that move."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Set

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monlat_ebpf.config import PeerChoice
from monlat_ebpf.discovery.graph import degree_of, fitting_degree, one_ring, ring_peers, rings_for
from monlat_ebpf.discovery.rings import HashRings

SIZES = [(10, 2), (10, 4), (10, 8), (1_000, 2), (1_000, 32)]
"""Numbers of nodes, and degrees."""

Graph = Mapping[str, Set[str]]

seeds = st.integers(0, 2**32)
short_names = st.text(min_size=1, max_size=4)


def random_names(seed: int, count: int) -> list[str]:
    """Names of nodes as clouds give them, in no order."""
    draw = random.Random(seed)
    return [f"ip-10-{draw.randrange(256)}-{draw.randrange(256)}-{number}.internal" for number in range(count)]


def rings_of(nodes: Iterable[str], count: int) -> HashRings:
    rings = HashRings(count)
    rings.update(set(nodes))
    return rings


def graph_of(nodes: Iterable[str], degree: int) -> Graph:
    rings = rings_of(nodes, degree // 2)
    return {node: ring_peers(rings, node, degree) for node in nodes}


def is_symmetric(graph: Graph) -> bool:
    return all(node in graph[peer] and node != peer for node, peers in graph.items() for peer in peers)


def reached_from_any(graph: Graph) -> set[str]:
    """Return the nodes that can be reached from one of them."""
    reached: set[str] = set()
    waiting = [next(iter(graph))]
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting.extend(graph[node])
    return reached


def pairs_of(graph: Graph) -> set[frozenset[str]]:
    return {frozenset((node, peer)) for node, peers in graph.items() for peer in peers}


def near(nodes: Iterable[str], node: str, degree: int) -> set[str]:
    """Return the nodes beside `node` in a ring, or at most half the degree from it in the first one."""
    rings = rings_of(nodes, degree // 2)
    along = [other for step in range(1, degree // 2 + 1) for other in rings.along_first(node, step)]
    return {*rings.adjacent(node, degree // 2), *along}


@pytest.mark.parametrize(("size", "degree"), SIZES)
@settings(max_examples=3, deadline=None)
@given(seed=seeds)
def test_graph_is_symmetric_connected_and_of_its_degree(size: int, degree: int, seed: int) -> None:
    """Nobody probes itself. One less than K at least, 2K - 2 at most, whatever the hashes are."""
    graph = graph_of(random_names(seed, size), degree)
    assert is_symmetric(graph)
    assert reached_from_any(graph) == graph.keys()
    sizes = [len(peers) for peers in graph.values()]
    assert degree - 1 <= min(sizes)
    assert max(sizes) <= 2 * degree - 2


@given(st.sets(short_names, min_size=4, max_size=24), st.integers(1, 11))
@settings(deadline=None)
def test_graph_of_any_few_nodes_keeps_the_same(nodes: set[str], half: int) -> None:
    """Also where rings coincide in most of their pairs: a degree close to the number of nodes."""
    degree = min(2 * half, (len(nodes) - 2) // 2 * 2)
    graph = graph_of(nodes, degree)
    assert is_symmetric(graph)
    assert reached_from_any(graph) == nodes
    assert all(degree - 1 <= len(peers) <= 2 * degree - 2 for peers in graph.values())


@pytest.mark.parametrize(("size", "degree"), SIZES)
@settings(max_examples=2, deadline=None)
@given(seed=seeds)
def test_a_node_moves_only_pairs_of_nodes_near_it(size: int, degree: int, seed: int) -> None:
    """A node joins. It is the same when it leaves, read backwards: the graph follows from the list alone."""
    *nodes, newcomer = random_names(seed, size + 1)
    before, after = pairs_of(graph_of(nodes, degree)), pairs_of(graph_of([*nodes, newcomer], degree))
    moved = {pair for pair in before ^ after if newcomer not in pair}
    beside = near([*nodes, newcomer], newcomer, degree)
    assert [pair for pair in moved if not pair & beside] == []


@given(st.sets(short_names, min_size=4, max_size=24), st.text(min_size=5, max_size=5))
def test_with_a_degree_of_two_a_newcomer_parts_one_pair(nodes: set[str], newcomer: str) -> None:
    """It stands between two nodes of the only ring: their pair ends, and each of them has one with the newcomer."""
    before, after = pairs_of(graph_of(nodes, 2)), pairs_of(graph_of(nodes | {newcomer}, 2))
    (parted,) = before - after
    assert after - before == {frozenset((node, newcomer)) for node in parted}


def test_ring_of_five() -> None:
    """The order is that of test_rings.py: n1, n3, n4, n2, n5."""
    assert graph_of(["n5", "n4", "n3", "n2", "n1"], 2) == {
        "n1": {"n5", "n3"},
        "n3": {"n1", "n4"},
        "n4": {"n3", "n2"},
        "n2": {"n4", "n5"},
        "n5": {"n2", "n1"},
    }


@pytest.mark.parametrize(
    ("choice", "nodes", "degree"),
    [
        (PeerChoice.AUTO, 100, None),
        (PeerChoice.AUTO, 101, 32),
        (PeerChoice.ALL, 5_000, None),
        (2, 5, 2),
        (4, 5, None),
        (4, 6, 4),
    ],
)
def test_degree_follows_from_the_setting_and_the_number_of_nodes(
    choice: int | PeerChoice, nodes: int, degree: int | None
) -> None:
    """None: all others. Five nodes have four others each."""
    assert degree_of(choice, nodes) == degree
    assert rings_for(choice) * 2 >= (degree or 2)


@pytest.mark.parametrize(("room", "degree"), [(1, 0), (2, 2), (5, 2), (6, 4), (61, 30), (62, 32), (1_000, 32), (-3, 0)])
def test_largest_degree_whose_peers_surely_fit(room: int, degree: int) -> None:
    """Twice the degree less two is at most the room: 4 may come to 6, 32 to 62."""
    assert fitting_degree(32, room) == degree


names = st.frozensets(short_names, min_size=2, max_size=24)


def one_ring_of_all(nodes: Set[str], limit: int) -> Graph:
    rings = rings_of(nodes, 1)
    return {node: one_ring(rings, node, limit) for node in nodes}


@given(names, st.integers(1, 25))
def test_one_ring_has_as_many_as_the_limit_allows(nodes: frozenset[str], limit: int) -> None:
    """In both directions. With a limit of 1 and an odd number of nodes, one node probes one that has another."""
    limit = min(limit, max(1, len(nodes) - 2))
    graph = one_ring_of_all(nodes, limit)
    assert all(len(peers) == max(limit - limit % 2, 1) and node not in peers for node, peers in graph.items())
    one_sided = [(node, peer) for node, peers in graph.items() for peer in peers if node not in graph[peer]]
    assert len(one_sided) == int(limit == 1 and len(nodes) % 2 == 1)


@given(names, st.text(min_size=5, max_size=5), st.integers(1, 12))
def test_a_newcomer_replaces_one_peer_of_each_in_one_ring(nodes: frozenset[str], newcomer: str, half: int) -> None:
    """All other pairs keep their history."""
    limit = min(2 * half, (len(nodes) - 1) // 2 * 2)
    if not limit:
        return
    before, after = one_ring_of_all(nodes, limit), one_ring_of_all(nodes | {newcomer}, limit)
    for node in nodes:
        assert len(before[node] - after[node]) <= 1
        assert after[node] - before[node] <= {newcomer}


def test_pairs_of_five_with_a_limit_of_one() -> None:
    """In the order n1, n3, n4, n2, n5: n1 with n3, n4 with n2; n5 is left, and probes the one before it."""
    assert one_ring_of_all({"n1", "n2", "n3", "n4", "n5"}, 1) == {
        "n1": {"n3"},
        "n3": {"n1"},
        "n4": {"n2"},
        "n2": {"n4"},
        "n5": {"n2"},
    }
