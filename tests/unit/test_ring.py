"""Which nodes are probed if there are too many: the same pairs on both sides, and few changes."""

from __future__ import annotations

from collections.abc import Set

from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.discovery.ring import choose

names = st.frozensets(st.text(min_size=1, max_size=4), min_size=1, max_size=24)
limits = st.integers(1, 25)


def chosen_by_all(nodes: Set[str], limit: int) -> dict[str, frozenset[str]]:
    return {node: choose(nodes, node, limit) for node in nodes}


def expected_size(nodes: int, limit: int) -> int:
    """Return how many peers each of `nodes` has: all others, or an even number of them."""
    others = nodes - 1
    return others if others <= limit else max(limit - limit % 2, 1)


@given(names, limits)
def test_a_probes_b_exactly_if_b_probes_a(nodes: frozenset[str], limit: int) -> None:
    """With a limit of 1 and an odd number of nodes, one node has no partner: it alone probes one that has another."""
    chosen = chosen_by_all(nodes, limit)
    one_sided = [(a, b) for a in nodes for b in chosen[a] if a not in chosen[b]]
    is_odd_one_out = limit == 1 and len(nodes) % 2 == 1 and len(nodes) > 1
    assert len(one_sided) == int(is_odd_one_out)


@given(names, limits)
def test_every_node_probes_as_many_as_the_limit_allows(nodes: frozenset[str], limit: int) -> None:
    """Never itself, never none, and never more than the limit."""
    for node, peers in chosen_by_all(nodes, limit).items():
        assert node not in peers
        assert peers <= nodes
        assert len(peers) == expected_size(len(nodes), limit) <= limit


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=24, unique=True), limits)
def test_order_of_the_list_does_not_matter(nodes: list[str], limit: int) -> None:
    """Slices come in any order."""
    assert choose(nodes, nodes[0], limit) == choose(nodes[::-1], nodes[0], limit)


@given(names, st.text(min_size=5, max_size=5), st.integers(2, 25))
def test_a_node_that_joins_replaces_at_most_one_peer_of_each(nodes: frozenset[str], newcomer: str, limit: int) -> None:
    """All other pairs keep their history. It is the same when a node leaves, read backwards.

    When the limit is exceeded for the first time and is odd, two peers go: one for the newcomer, one for the parity.
    """
    before, after = chosen_by_all(nodes, limit), chosen_by_all(nodes | {newcomer}, limit)
    most = 2 if len(nodes) - 1 == limit and limit % 2 else 1
    for node in nodes:
        assert len(before[node] - after[node]) <= most
        assert after[node] - before[node] <= {newcomer}


def test_agent_outside_the_list_probes_a_part_too() -> None:
    """An agent with a kubeconfig, or one whose own endpoint is not listed yet, chooses as if it were listed."""
    listed = [f"node{number}" for number in range(23)]
    assert choose(listed, "outside", 6) == choose([*listed, "outside"], "outside", 6)
    assert len(choose(listed, "outside", 6)) == 6


def test_ring_of_five_with_a_limit_of_two() -> None:
    """By `b2sum -l 64` of the names: n5 (1572), n4 (60cb), n2 (6ea5), n3 (bc2d), n1 (c169). Each has two beside it."""
    assert chosen_by_all({"n1", "n2", "n3", "n4", "n5"}, 2) == {
        "n5": {"n1", "n4"},
        "n4": {"n5", "n2"},
        "n2": {"n4", "n3"},
        "n3": {"n2", "n1"},
        "n1": {"n3", "n5"},
    }


def test_pairs_of_five_with_a_limit_of_one() -> None:
    """In the same order: n5 with n4, n2 with n3; n1 is left, and probes the one before it."""
    assert chosen_by_all({"n1", "n2", "n3", "n4", "n5"}, 1) == {
        "n5": {"n4"},
        "n4": {"n5"},
        "n2": {"n3"},
        "n3": {"n2"},
        "n1": {"n3"},
    }
