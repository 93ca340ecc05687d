"""Tables of exact counts to faults."""

from __future__ import annotations

from array import array

from monlat_ebpf.diagnosis.elements import PairSuspect
from monlat_ebpf.diagnosis.findings import Symptom
from monlat_ebpf.diagnosis.localization import faults_of
from monlat_ebpf.diagnosis.past import TAIL_RATES
from monlat_ebpf.diagnosis.tables import Table

TRIALS = 15


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


def test_a_node_needs_two_witnesses_that_see_it() -> None:
    """0 and 1 are near each other, and slow; 0 and 3 have some slow samples, as they usually do. It is the pair 0, 1.

    Of the pairs that could see so small a rise, half do: without the second witness, that would be node 0.
    """
    near = {(0, 1): 33, (0, 3): 35, (2, 3): 34, (4, 5): 33, (3, 4): 36}
    table = slow(6, near, {(0, 1): 15, (1, 0): 15, (0, 3): 5, (3, 0): 3})
    (fault,) = faults_of(table, [range(2), range(2, 4), range(4, 6)])
    assert fault.suspect == PairSuspect(0, 1)
