"""Which nodes an agent probes if more are listed than it may probe: pure.

Every agent makes the same choice from the same list, so A probes B exactly if B probes A: without the second half,
neither has a network RTT. The nodes form a ring in the order of a hash of their names, which mixes racks and zones.
Each probes as many before it as after it. So a node that joins or leaves replaces at most one peer of any other node,
and the peer that is replaced is the farthest one; all others keep their history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def choose(names: Iterable[str], own: str, limit: int) -> frozenset[str]:
    """Return which of `names` the node `own` probes: all others, or about `limit` of them if there are more.

    An odd limit above 1 leaves one unused, because the ring has two directions. With a limit of 1, the nodes form
    pairs. If their number is odd, the last one probes a node that does not probe it.
    """
    others = frozenset(names) - {own}
    if len(others) <= limit:
        return others
    ring = sorted(others | {own}, key=_position)
    at = ring.index(own)
    if limit == 1:
        partner = at ^ 1
        return frozenset({ring[partner if partner < len(ring) else at - 1]})
    steps = range(1, limit // 2 + 1)
    return frozenset(ring[(at + step) % len(ring)] for each in steps for step in (each, -each))


def _position(name: str) -> tuple[bytes, str]:
    return hashlib.blake2b(name.encode(), digest_size=8).digest(), name
