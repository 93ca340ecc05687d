"""What one node probes and says about it, compared with what all nodes together probe."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import combinations, count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monlat_ebpf.config import PeerChoice
from monlat_ebpf.discovery.coverage import Chooser, Coverage
from tests.whole_graph import ring_graph, whole_graph

ROOMY = 1_000
zones_of_nodes = st.dictionaries(st.text(min_size=1, max_size=4), st.sampled_from(["", *"AAAABBBC"]), min_size=1)
choices = st.sampled_from([2, 4, 6, PeerChoice.ALL, PeerChoice.AUTO])


def coverages(zones: Mapping[str, str], choice: int | PeerChoice, room: int = ROOMY) -> dict[str, Coverage]:
    """Return what each of the nodes finds by itself."""
    return {node: Chooser(node, choice).update(zones, room) for node in zones}


def probed_pairs(found: Mapping[str, Coverage]) -> set[tuple[str, str]]:
    return {(node, peer) for node, coverage in found.items() for peer in coverage.peers}


@given(zones_of_nodes, choices, st.integers(1, 30))
@settings(deadline=None)
def test_all_nodes_together_probe_what_each_says(zones: Mapping[str, str], choice: int | PeerChoice, room: int) -> None:
    """Both directions of a pair, within the room. What one node says of nodes and zones is true of all pairs."""
    found = coverages(zones, choice, room)
    pairs = probed_pairs(found)
    one_sided = [pair for pair in pairs if pair[::-1] not in pairs]
    assert len(one_sided) == int(room == 1 and len(zones) % 2 == 1 and len(zones) > 1)
    named = set(zones.values()) - {""}
    between = {(zones[node], zones[peer]) for node, peer in pairs}
    for node, coverage in found.items():
        assert node not in coverage.peers
        assert len(coverage.peers) <= room
        assert coverage.nodes == len(zones)
        assert coverage.unprobed_nodes == len(zones.keys() - {peer for _, peer in pairs})
        assert coverage.zone_pairs == len(list(combinations(named, 2)))
        assert coverage.own_zone_pairs == (len(named) - 1 if zones[node] else 0)
        of_own_zone = {other for own, other in between if own == zones[node] and other != own and own and other}
        assert coverage.own_zone_pairs_probed <= len(of_own_zone)


@given(zones_of_nodes, choices)
@settings(deadline=None)
def test_without_a_limit_every_pair_of_zones_is_probed(zones: Mapping[str, str], choice: int | PeerChoice) -> None:
    """By two pairs of nodes at least, by one if both zones have one node; and every node has what it wants."""
    found = coverages(zones, choice)
    pairs = probed_pairs(found)
    for one, two in combinations(sorted(set(zones.values()) - {""}), 2):
        possible = sum(zone == one for zone in zones.values()) * sum(zone == two for zone in zones.values())
        assert sum((zones[node], zones[peer]) == (one, two) for node, peer in pairs) >= min(2, possible)
    for coverage in found.values():
        assert coverage.own_zone_pairs_probed == coverage.own_zone_pairs
        assert len(coverage.peers) == coverage.wanted


@pytest.mark.parametrize(("nodes", "degree"), [(5, 2), (23, 6), (101, 32)])
def test_agents_find_the_graph_of_the_definition(nodes: int, degree: int) -> None:
    """Each alone finds its part."""
    zones = in_zones(nodes, "ABCAB")
    found = coverages(zones, degree)
    assert {node: coverage.peers for node, coverage in found.items()} == whole_graph(zones, degree)


@pytest.mark.parametrize(("size", "degree"), [(10, 4), (1_000, 32), (5_000, 32)])
@given(
    seed=st.integers(0, 2**32),
    skew=st.integers(1, 9),
    steps=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 7)), max_size=2),
)
@settings(max_examples=5, deadline=None)
def test_nodes_join_and_leave_in_uneven_zones(
    size: int, degree: int, seed: int, skew: int, steps: list[tuple[int, int]]
) -> None:
    """Agents that follow agree with the definition about the rings, and with each other about the pairs of zones."""
    draw = random.Random(seed)
    joining = (f"node{number}-{draw.randrange(1_000)}" for number in count())
    zones = {next(joining): draw.choices("abcde", [skew**power for power in range(5)])[0] for _ in range(size)}
    watched = {node: Chooser(node, degree) for node in draw.sample(sorted(zones), 3)}
    for leave, join in [(0, 0), *steps]:
        others = sorted(zones.keys() - watched.keys())
        for node in draw.sample(others, min(leave, len(others))):
            del zones[node]
        zones |= {next(joining): draw.choice("abcde") for _ in range(join)}
        if len(zones) <= degree + 1:
            return
        rings = ring_graph(zones, degree)
        assert min(map(len, rings.values())) >= degree - 1
        for node, chooser in watched.items():
            coverage = chooser.update(zones, ROOMY)
            assert rings[node] <= coverage.peers
            assert coverage.own_zone_pairs_probed == len(set(zones.values())) - 1
            for partner in coverage.peers - rings[node]:
                assert zones[partner] != zones[node]
                assert node in Chooser(partner, degree).update(zones, ROOMY).peers


def in_zones(nodes: int, zones: str) -> dict[str, str]:
    """Nodes that are in the zones in turn."""
    return {f"node{number}": zones[number % len(zones)] for number in range(nodes)}


def test_auto_probes_all_of_a_hundred_nodes_and_a_part_of_more() -> None:
    """99 others; then 31 to 62 of the rings, and at most one for each of the two other zones."""
    hundred, more = in_zones(100, "ABC"), in_zones(101, "ABC")
    assert {len(coverage.peers) for coverage in coverages(hundred, PeerChoice.AUTO).values()} == {99}
    sizes = {len(coverage.peers) for coverage in coverages(more, PeerChoice.AUTO).values()}
    assert min(sizes) >= 31
    assert max(sizes) <= 64


@pytest.mark.parametrize(
    ("room", "most", "own_zone_pairs_probed"),
    [(66, 66, 2), (65, 65, 2), (6, 6, 2), (5, 5, None), (2, 2, None), (1, 1, None)],
)
def test_fewer_rings_and_then_no_pairs_of_zones_where_there_is_no_room(
    room: int, most: int, own_zone_pairs_probed: int | None
) -> None:
    """32 come to 62, and the pairs of a zone with two others to 4: 66. With 6, two in one ring; with 5, only these."""
    found = coverages(in_zones(101, "ABC"), 32, room)
    assert max(len(coverage.peers) for coverage in found.values()) <= most
    assert {coverage.wanted for coverage in found.values()} >= {31, 32}
    if own_zone_pairs_probed is not None:
        assert {coverage.own_zone_pairs_probed for coverage in found.values()} == {own_zone_pairs_probed}
    lacking = sum(coverage.wanted > len(coverage.peers) for coverage in found.values())
    assert lacking == (0 if room == 66 else 101)


def test_node_outside_the_list_chooses_as_if_it_were_listed() -> None:
    """An agent with a kubeconfig, or one whose own endpoint is not listed yet: no zone, and peers in the rings."""
    coverage = Chooser("outside", 4).update({**in_zones(23, "AB"), "outside": ""}, ROOMY)
    assert 3 <= len(coverage.peers) <= 6
    assert (coverage.zone_pairs, coverage.own_zone_pairs) == (1, 0)


def test_choice_follows_from_the_last_list_alone() -> None:
    """An agent that saw the cluster grow, shrink and change zones agrees with one that has just started."""
    chooser = Chooser("node0", PeerChoice.AUTO)
    for nodes, zones in ((7, "AB"), (211, "ABC"), (103, "CAB"), (97, "AB"), (211, "ABC")):
        listed = in_zones(nodes, zones)
        assert chooser.update(listed, ROOMY) == Chooser("node0", PeerChoice.AUTO).update(listed, ROOMY)
