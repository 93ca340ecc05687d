"""Which nodes are probed so that every pair of zones is: pure.

Of each pair of zones, the two pairs of nodes with the least hash. They have no node in common where both zones have two
nodes: one node that fails leaves the other pair. The hash of a pair is the sum of its nodes' numbers modulo 2^64, so
that the least one is found by one search for each node of the smaller zone, not by trying all pairs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

_MODULUS: Final = 2**64


class _Member(NamedTuple):
    number: int
    node: str


_Zone = list[_Member]
"""The nodes of a zone, sorted."""


def zone_pairs(zones: Mapping[str, str], number: Callable[[str], int], own: str) -> dict[str, list[tuple[str, str]]]:
    """Return the two pairs of nodes by which the zone `own` and each other zone probe each other, by the other zone.

    The first node of a pair is in the zone `own`. `zones` has the zone of each node; nodes of the zone "" are in no
    zone. `number` gives 64 bits that are even over all nodes. Two zones of one node each have one pair.
    """
    members: dict[str, _Zone] = {}
    for node, zone in zones.items():
        if zone:
            members.setdefault(zone, []).append(_Member(number(node), node))
    for of_zone in members.values():
        of_zone.sort()
    ours = members.pop(own, [])
    if not ours:
        return {}
    return {zone: _two_least(ours, theirs) for zone, theirs in members.items()}


def _two_least(ours: _Zone, theirs: _Zone) -> list[tuple[str, str]]:
    first = _least(ours, theirs)
    others = [_without(first, ours), _without(first, theirs)]
    if not any(others):
        return [first]
    return [first, _least(others[0] or ours, others[1] or theirs)]


def _without(pair: tuple[str, str], zone: Iterable[_Member]) -> _Zone:
    return [member for member in zone if member.node not in pair]


def _least(ours: _Zone, theirs: _Zone) -> tuple[str, str]:
    """Return the pair with the least hash; of equal ones that with the first names, so that both zones agree."""
    swapped = len(ours) > len(theirs)
    few, many = (theirs, ours) if swapped else (ours, theirs)
    pairs = ((one, _partner(one, many)) for one in few)
    one, other = min(pairs, key=_order)
    return (other.node, one.node) if swapped else (one.node, other.node)


def _partner(one: _Member, others: _Zone) -> _Member:
    """Return the node whose number makes the least sum with that of `one`: the first from its complement on."""
    complement = -one.number % _MODULUS
    return others[bisect_left(others, (complement,)) % len(others)]


def _order(pair: tuple[_Member, _Member]) -> tuple[int, list[str]]:
    one, other = pair
    return (one.number + other.number) % _MODULUS, sorted((one.node, other.node))
