"""Orders of nodes that all agents see alike, however their lists came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.discovery.rings import HashRings

RINGS = 3
names = st.frozensets(st.text(min_size=1, max_size=3), min_size=1, max_size=40)


def around(rings: HashRings, node: str) -> tuple[object, ...]:
    return rings.number(node), rings.position(node), rings.along_first(node, 2), rings.adjacent(node, RINGS)


@given(st.lists(names, min_size=1, max_size=7))
def test_rings_follow_from_the_last_list_alone(lists: list[frozenset[str]]) -> None:
    """Rings that have seen other lists before are those of an agent that has just started."""
    followed, fresh = HashRings(RINGS), HashRings(RINGS)
    for nodes in lists:
        followed.update(nodes)
    fresh.update(lists[-1])
    assert len(followed) == len(fresh) == len(lists[-1])
    for node in lists[-1]:
        assert around(followed, node) == around(fresh, node)


@given(names)
def test_more_rings_leave_the_first_ones_as_they_are(nodes: frozenset[str]) -> None:
    """So a larger --probe-neighbours only adds pairs."""
    few, many = HashRings(2), HashRings(5)
    few.update(nodes)
    many.update(nodes)
    for node in nodes:
        assert few.number(node) == many.number(node)
        assert few.adjacent(node, 2) == many.adjacent(node, 2)


def test_order_is_that_of_shake_128() -> None:
    """By `printf n1 | openssl dgst -shake128 -xoflen 16`: bytes 0 to 7 are the number, 8 to 11 and 12 to 15 order.

    First ring: n1 (1d20cb5b), n3 (a4ae6aab), n4 (d4a605bb), n2 (f21ae40d), n5 (f7184d59).
    Second ring: n5 (3f9a5c61), n4 (96aa877d), n2 (c5340d81), n1 (d8b95cb8), n3 (ef6457d6).
    """
    rings = HashRings(2)
    rings.update({"n1", "n2", "n3", "n4", "n5"})
    assert rings.number("n1") == 0x360194CF79DBBBB8
    assert [rings.position(node) for node in ("n1", "n3", "n4", "n2", "n5")] == [0, 1, 2, 3, 4]
    assert rings.along_first("n1", 2) == ("n2", "n4")
    assert rings.adjacent("n1", 1) == {"n5", "n3"}
    assert rings.adjacent("n1", 2) == {"n5", "n3", "n2"}
    assert rings.adjacent("n5", 2) == {"n2", "n1", "n3", "n4"}
