"""Nodes in rings, each ring in an order of its own that a hash of the nodes' names gives: pure."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Callable, Set
from typing import Final

_NUMBER_BYTES: Final = 8
_POSITION_BYTES: Final = 4
"""Two of 5,000 nodes have the same position in one ring of 300. Their names then decide."""

_Key = Callable[[str], tuple[bytes, str]]


class HashRings:
    """`count` rings of the same nodes.

    What it returns follows from the nodes alone, not from the order in which they came: so all agents of a cluster see
    the same rings. The rings stay sorted, because to sort 5,000 nodes again for each change would take 0.1 s. A node
    that joins or leaves takes the time of one search in each ring.
    """

    def __init__(self, count: int) -> None:
        self._hashes: dict[str, bytes] = {}
        self._digest_bytes = _NUMBER_BYTES + count * _POSITION_BYTES
        self._rings: list[tuple[list[str], _Key]] = [([], self._key(number)) for number in range(count)]

    def __len__(self) -> int:
        return len(self._hashes)

    def update(self, nodes: Set[str]) -> None:
        """Make the nodes those of `nodes`."""
        left, joined = self._hashes.keys() - nodes, nodes - self._hashes.keys()
        is_bulk = len(joined) > len(self._hashes)
        self._hashes |= {node: self._hash(node) for node in joined}
        for ring, key in self._rings:
            for node in left:
                del ring[bisect_left(ring, key(node), key=key)]
            if is_bulk:
                ring.extend(joined)
                ring.sort(key=key)
                continue
            for node in joined:
                insort(ring, node, key=key)
        for node in left:
            del self._hashes[node]

    def number(self, node: str) -> int:
        """Return a number of 64 bits by which other choices than the rings can be made."""
        return int.from_bytes(self._hashes[node][:_NUMBER_BYTES], "big")

    def adjacent(self, node: str, count: int) -> set[str]:
        """Return the nodes before and after `node` in each of the first `count` rings, without itself."""
        found: set[str] = set()
        for ring, key in self._rings[:count]:
            at = bisect_left(ring, key(node), key=key)
            found.add(ring[at - 1])
            found.add(ring[(at + 1) % len(ring)])
        found.discard(node)
        return found

    def along_first(self, node: str, distance: int) -> tuple[str, str]:
        """Return the nodes that are `distance` before and after `node` in the first ring."""
        ring, _ = self._rings[0]
        at = self.position(node)
        return ring[(at - distance) % len(ring)], ring[(at + distance) % len(ring)]

    def position(self, node: str) -> int:
        """Return the index of `node` in the first ring, which begins with the least hash."""
        ring, key = self._rings[0]
        return bisect_left(ring, key(node), key=key)

    def _hash(self, node: str) -> bytes:
        """Return a hash whose beginning does not depend on the number of rings."""
        return hashlib.shake_128(node.encode()).digest(self._digest_bytes)

    def _key(self, number: int) -> _Key:
        start = _NUMBER_BYTES + number * _POSITION_BYTES
        end = start + _POSITION_BYTES
        hashes = self._hashes

        def key(node: str) -> tuple[bytes, str]:
            return hashes[node][start:end], node

        return key
