"""Which of the listed nodes this node probes, and what that covers: pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from monlat_ebpf.config import PeerChoice
from monlat_ebpf.discovery.graph import degree_of, fitting_degree, one_ring, ring_peers, rings_for
from monlat_ebpf.discovery.rings import HashRings
from monlat_ebpf.discovery.zone_pairs import zone_pairs


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is probed of all nodes, as one of them knows it.

    `nodes` counts all, the one itself included. `peers` are those that it probes, and `wanted` is how many it would
    probe without a limit. `unprobed_nodes` have no pair at all.
    `zone_pairs` are all pairs of zones, `own_zone_pairs` those of its own zone. In `own_zone_pairs_probed` of these it
    knows of a pair of nodes that is probed: one of its own, or one that the graph has for these zones.
    """

    nodes: int
    peers: frozenset[str]
    wanted: int
    unprobed_nodes: int
    zone_pairs: int
    own_zone_pairs: int
    own_zone_pairs_probed: int


class Chooser:
    """Chooses which nodes the node `own` probes, as `--probe-neighbours` says (`choice`).

    What it returns follows from the last list alone. It keeps the rings because few nodes change at a time.
    """

    def __init__(self, own: str, choice: int | PeerChoice) -> None:
        self._own = own
        self._choice = choice
        self._rings = HashRings(rings_for(choice))

    def update(self, zones: Mapping[str, str], room: int) -> Coverage:
        """Return what is probed of the nodes of `zones`, of which each may probe `room`, and one at least.

        `zones` has the zone of each node, `own` included; "" is no zone. All agents must have the same `room`. If all
        pairs are wanted and do not fit, the nodes form one ring. If a part is wanted, and any node might have more than
        fit, all have fewer rings. If that is not enough, there are no pairs of zones.
        """
        others = zones.keys() - {self._own}
        degree = degree_of(self._choice, len(zones))
        if degree is None and len(others) <= room:
            return self._coverage(zones, others, len(others), room)
        self._rings.update(zones.keys())
        if degree is None:
            return self._coverage(zones, one_ring(self._rings, self._own, room), len(others), room)
        pairs = zone_pairs(zones, self._rings.number, zones[self._own])
        partners = {theirs for two in pairs.values() for ours, theirs in two if ours == self._own}
        wanted = len(ring_peers(self._rings, self._own, degree) | partners)
        if len(others) > room:
            most_partners = 2 * max(0, len(_named(zones)) - 1)  # two for each other zone: those of a zone of one node
            fitting = fitting_degree(degree, room - most_partners)
            if not fitting:
                fitting, pairs, partners = fitting_degree(degree, room), {}, set()
            degree = fitting
        around = ring_peers(self._rings, self._own, degree) if degree else one_ring(self._rings, self._own, room)
        return self._coverage(zones, around | partners, wanted, room, pairs.keys())

    def _coverage(
        self, zones: Mapping[str, str], peers: Set[str], wanted: int, room: int, paired: Set[str] = frozenset()
    ) -> Coverage:
        """Return the coverage; `paired` are the zones with which the graph pairs the own one."""
        named, own_zone = _named(zones), zones[self._own]
        other_zones = named - {own_zone} if own_zone else set()
        reached = {zones[peer] for peer in peers} | paired
        return Coverage(
            nodes=len(zones),
            peers=frozenset(peers),
            wanted=wanted,
            # every ring has a peer for each node; with pairs alone, the last of an odd number has none
            unprobed_nodes=len(zones) % 2 if room == 1 else int(len(zones) == 1),
            zone_pairs=len(named) * (len(named) - 1) // 2,
            own_zone_pairs=len(other_zones),
            own_zone_pairs_probed=len(other_zones & reached),
        )


def _named(zones: Mapping[str, str]) -> set[str]:
    return set(zones.values()) - {""}
