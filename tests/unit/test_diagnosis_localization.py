"""Tables of exact counts to faults."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import pytest

from monlat_ebpf.diagnosis.accounts import Fault
from monlat_ebpf.diagnosis.elements import NodeSuspect, PairSuspect, Side, ZoneSuspect
from monlat_ebpf.diagnosis.findings import Symptom
from monlat_ebpf.diagnosis.localization import faults_of
from monlat_ebpf.diagnosis.past import TAIL_RATES
from monlat_ebpf.diagnosis.tables import Table

TRIALS = 15
ZONES = [range(4), range(4, 8), range(8, 12)]
BETWEEN = [(0, 4), (1, 5), (2, 6), (3, 7), (0, 5)]


def slow(size: int, near: dict[tuple[int, int], int], shown: dict[tuple[int, int], int]) -> Table:
    """Return slow samples of all pairs; `near` has the sight of pairs that see small rises, by both nodes in order."""
    table = Table(Symptom.SLOW, [], [], [], [], [], TAIL_RATES)
    for sender in range(size):
        peers = [peer for peer in range(size) if peer != sender]
        table.peers.append(array("I", peers))
        table.shown.append(array("I", [shown.get((sender, peer), 0) for peer in peers]))
        table.trials.append(array("I", [TRIALS] * len(peers)))
        table.usual.append(bytearray(int((min(sender, peer), max(sender, peer)) == (0, 3)) for peer in peers))
        table.sight.append(bytes(near.get((min(sender, peer), max(sender, peer)), 37) for peer in peers))
    return table


def lossy(size: int, trials: int, shown: dict[tuple[int, int], int]) -> Table:
    """Return losses of all pairs, of which 0.03 % are lost by chance."""
    table = Table(Symptom.LOSS, [], [], [], [], [], (3e-4,))
    for sender in range(size):
        peers = [peer for peer in range(size) if peer != sender]
        table.peers.append(array("I", peers))
        table.shown.append(array("I", [shown.get((sender, peer), 0) for peer in peers]))
        table.trials.append(array("I", [trials] * len(peers)))
        table.usual.append(bytearray(len(peers)))
        table.sight.append(bytes(len(peers)))
    return table


def test_the_worst_pair_of_a_node_that_loses_too_little_to_be_named_is_not_named_instead() -> None:
    """Twelve of a node's sixteen peers lose a probe of 155 in one direction, and one loses ten of 310.

    22 of 4,960 are 0.44 %, under 0.5 %; by chance it would be 1.5. The pair alone, 3.2 %, is named without the others.
    """
    others = {(0, peer): 1 for peer in range(2, 8)} | {(peer, 0): 1 for peer in range(8, 14)}
    of_pair = {(0, 1): 5, (1, 0): 5}
    (fault,) = faults_of(lossy(17, 155, of_pair), [range(17)])
    assert fault.suspect == PairSuspect(0, 1)
    (fault,) = faults_of(lossy(17, 155, of_pair | others), [range(17)])
    assert fault.suspect is None
    assert NodeSuspect(0, Side.BOTH) in fault.candidates


def test_a_node_needs_two_witnesses_that_see_it() -> None:
    """0 and 1 are near each other, and slow; 0 and 3 have some slow samples, as they usually do. It is the pair 0, 1.

    Of the pairs that could see so small a rise, half do: without the second witness, that would be node 0.
    """
    near = {(0, 1): 33, (0, 3): 35, (2, 3): 34, (4, 5): 33, (3, 4): 36}
    table = slow(6, near, {(0, 1): 15, (1, 0): 15, (0, 3): 5, (3, 0): 3})
    (fault,) = faults_of(table, [range(2), range(2, 4), range(4, 6)])
    assert fault.suspect == PairSuspect(0, 1)


def faulty(pairs: Sequence[tuple[int, int]], zones: Sequence[range]) -> list[Fault]:
    """Return the faults of twelve nodes when all samples of these pairs are slow."""
    return faults_of(
        slow(12, {}, {cell: TRIALS for one, other in pairs for cell in ((one, other), (other, one))}), zones
    )


def test_pairs_that_share_two_zones_are_not_named_one_by_one() -> None:
    """Of 132 cells, 32 are between two of three zones. That 5 of 5 are there by chance has a probability of 0.08 %.

    It is less than 0.1 %, and what is between the zones cannot be named: 11 of its 16 pairs are as fast as ever.
    """
    (fault,) = faulty(BETWEEN, ZONES)
    assert (fault.suspect, fault.candidates) == (None, (ZoneSuspect(ZONES[0], ZONES[1]),))


@pytest.mark.parametrize(
    ("pairs", "zones"),
    [
        (BETWEEN[:4], ZONES),  # 4 of 4: 0.3 %
        ([*BETWEEN, (6, 10)], ZONES),  # 5 of 6: 0.4 %
        (BETWEEN, [range(12)]),  # all pairs are within the one zone
    ],
)
def test_pairs_that_share_two_zones_by_chance_are_named(pairs: list[tuple[int, int]], zones: list[range]) -> None:
    """Few pairs, or one elsewhere: each is at fault by itself."""
    assert {fault.suspect for fault in faulty(pairs, zones)} == {PairSuspect(*pair) for pair in pairs}
