"""Every pair of zones has two pairs of nodes, the same ones for all nodes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.discovery.zone_pairs import zone_pairs
from tests.whole_graph import Pair, least_pairs

NUMBERS = st.integers(0, 2**64 - 1)
nodes = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=2), st.sampled_from("XXXYYZ-"), min_size=1)
"""Zones of different sizes by node; "-" stands for no zone."""


def numbers_for(zones: Mapping[str, str]) -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries(dict.fromkeys(zones, NUMBERS))


def named(zones: Mapping[str, str]) -> dict[str, str]:
    return {node: zone.strip("-") for node, zone in zones.items()}


def chosen(zones: Mapping[str, str], numbers: Mapping[str, int]) -> dict[tuple[str, str], set[Pair]]:
    """Return the pairs of nodes by the two zones, as each zone sees them."""
    return {
        (own, other): {frozenset(pair) for pair in pairs}
        for own in set(zones.values())
        for other, pairs in zone_pairs(zones, numbers.__getitem__, own).items()
    }


@given(st.data(), nodes)
def test_two_least_of_all_pairs_are_chosen(data: st.DataObject, drawn: Mapping[str, str]) -> None:
    """As trying all pairs finds them, and the same from both zones. Nodes without a zone are in no pair."""
    zones = named(drawn)
    numbers = data.draw(numbers_for(zones))
    found = chosen(zones, numbers)
    real = sorted(set(zones.values()) - {""})
    assert found.keys() == {pair for one, two in combinations(real, 2) for pair in ((one, two), (two, one))}
    for (own, other), pairs in found.items():
        ours, theirs = ([node for node, zone in zones.items() if zone == each] for each in (own, other))
        assert pairs == least_pairs(ours, theirs, numbers)


@given(st.data(), nodes, st.sampled_from("XYZ"))
def test_a_node_moves_only_pairs_of_its_zone_and_only_if_it_is_in_one(
    data: st.DataObject, drawn: Mapping[str, str], zone: str
) -> None:
    """At most two pairs of nodes come and two go for each other zone. It is the same when a node leaves, backwards."""
    before = named(drawn)
    after = {**before, "newcomer": zone}
    numbers = data.draw(numbers_for(after))
    old, new = chosen(before, numbers), chosen(after, numbers)
    for zones, pairs in new.items():
        is_in = any("newcomer" in pair for pair in pairs)
        if zone not in zones or not is_in:
            assert pairs == old[zones]
        assert len(pairs - old.get(zones, set())) <= 2


def test_first_pair_is_the_least_sum_modulo_two_to_the_64() -> None:
    """By hand: a1 + b2 = 2^64 is 0; of those without a1 and b2, a2 + b1 = 8 is the only one."""
    numbers = {"a1": 2**64 - 7, "a2": 3, "b1": 5, "b2": 7}
    zones = {"a1": "A", "a2": "A", "b1": "B", "b2": "B"}
    assert zone_pairs(zones, numbers.__getitem__, "A") == {"B": [("a1", "b2"), ("a2", "b1")]}
    assert zone_pairs(zones, numbers.__getitem__, "B") == {"A": [("b2", "a1"), ("b1", "a2")]}


def test_a_zone_of_one_node_is_paired_with_two() -> None:
    """1 + 1 and 1 + 2 are the least; two zones of one node have one pair."""
    numbers = {"a": 1, "b1": 2, "b2": 1, "b3": 9, "c": 4}
    zones = {"a": "A", "b1": "B", "b2": "B", "b3": "B", "c": "C"}
    assert zone_pairs(zones, numbers.__getitem__, "A") == {"B": [("a", "b2"), ("a", "b1")], "C": [("a", "c")]}
    assert zone_pairs(zones, numbers.__getitem__, "") == {}
