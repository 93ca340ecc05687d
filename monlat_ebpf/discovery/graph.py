"""Which nodes probe each other when each probes a part of them: pure.

Every agent finds the same graph from the same list of nodes, so A probes B exactly if B probes A: without the second
half, neither has a network RTT. With `--probe-neighbours K`, its degree, it consists of:

- K/2 rings, each in the order of a hash of its own. A node probes the nodes before and after it in each ring. The first
  ring connects all nodes; several bring every node within a few steps of any other.
- More of the first ring. Where rings coincide, a node has fewer than K peers. It goes on along the first ring, to the
  second node on both sides, the third and so on, until it has K - 1 or K. A pair is probed if either node needs it.

So every node has K - 1 peers at least and 2K - 2 at most, whatever the hashes are. Of 5,000 nodes with K = 32, one in
11 has 31 and one in 100 has 33. A node that joins stands between two others in each ring: these K/2 pairs end, and
begin again when it leaves. Besides, only nodes that are near it in a ring may gain or lose a pair.
"""

from __future__ import annotations

from typing import Final

from monlat_ebpf.config import PeerChoice
from monlat_ebpf.discovery.rings import HashRings

ALL_UP_TO: Final = 100
"""Nodes up to which `auto` means all pairs."""

AUTO_DEGREE: Final = 32
"""What `auto` means beyond: enough witnesses to tell a node's fault from that of a pair, in a cluster of any size."""


def degree_of(choice: int | PeerChoice, nodes: int) -> int | None:
    """Return the degree that `choice` gives `nodes` nodes; None if each probes all others."""
    if choice is PeerChoice.ALL or (choice is PeerChoice.AUTO and nodes <= ALL_UP_TO):
        return None
    degree = AUTO_DEGREE if choice is PeerChoice.AUTO else choice
    return degree if degree < nodes - 1 else None


def rings_for(choice: int | PeerChoice) -> int:
    """Return how many rings `choice` can need. One serves where all are wanted and do not fit."""
    return (AUTO_DEGREE if choice is PeerChoice.AUTO else 2 if choice is PeerChoice.ALL else choice) // 2


def fitting_degree(degree: int, room: int) -> int:
    """Return the largest degree up to `degree` whose peers surely fit into `room`; 0 if none does."""
    return min(degree, max(0, (room + 2) // 4 * 2))  # 2 * degree - 2 <= room, and the degree is even


def ring_peers(rings: HashRings, node: str, degree: int) -> set[str]:
    """Return the nodes that `node` probes, and that probe it, in a graph of more than `degree` + 1 nodes."""
    peers = rings.adjacent(node, degree // 2)
    reach = _reach(rings, node, degree)
    for distance in range(2, degree // 2 + 1):
        for other in rings.along_first(node, distance):
            if distance <= reach or distance <= _reach(rings, other, degree):
                peers.add(other)
    return peers


def _reach(rings: HashRings, node: str, degree: int) -> int:
    """Return how far along the first ring `node` goes to have enough peers: degree / 2 at most."""
    peers = rings.adjacent(node, degree // 2)
    distance = 1
    while len(peers) < degree - 1:
        distance += 1
        peers.update(rings.along_first(node, distance))
    return distance


def one_ring(rings: HashRings, node: str, limit: int) -> set[str]:
    """Return the nodes that `node` probes if all pairs of more than `limit` + 1 nodes are wanted: as many as allowed.

    They are the nearest ones in the first ring, as many on either side; an odd limit above 1 leaves one unused. A node
    that joins or leaves replaces at most one peer of any other, the farthest. With a limit of 1, the nodes form pairs.
    If their number is odd, the last one probes a node that does not probe it.
    """
    if limit == 1:
        at = rings.position(node)
        before, after = rings.along_first(node, 1)
        return {before if at % 2 or at == len(rings) - 1 else after}
    return {other for step in range(1, limit // 2 + 1) for other in rings.along_first(node, step)}
