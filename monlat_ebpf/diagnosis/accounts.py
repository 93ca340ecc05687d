"""How well a suspect explains what the cells of a table show. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from typing import Final, NamedTuple

from monlat_ebpf.diagnosis.elements import NodeSuspect, PairSuspect, Side, Suspect, ZoneSuspect
from monlat_ebpf.diagnosis.likelihood import MOST_RATE, Cell, Fit, fit, log_ratio, rate_parameters, separate
from monlat_ebpf.diagnosis.members import Members
from monlat_ebpf.diagnosis.tables import Raw, Span, Table

EVENT_COST: Final = 8.0
"""The logarithm of how unlikely any fault is in a window, before any measurement: e^8 windows of 5 s are 4 hours.
So once in that time for each kind of element by chance, and a diagnosis needs two windows in a row."""
FEWEST_SIGHTED: Final = 4
"""Cells that a rise must be large enough for to be seen, when it is too small for others."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What explains `cells`. Without a suspect, it is one of `candidates`, or what it is is not known.

    `score` is its log likelihood ratio to chance. `rate` is the share of the trials with the symptom in the cells that
    the fault reaches.
    """

    suspect: Suspect | None
    score: float
    rate: float
    confidence: float
    cells: Members
    candidates: tuple[Suspect, ...] = ()


class Account(NamedTuple):
    """A suspect in the search: `score` is its log likelihood ratio to chance, `gain` that to faults of each pair.

    `is_broad` is False when too few of its cells show the fault.
    """

    score: float
    gain: float
    rate: float
    is_broad: bool


class Accounts:
    """The accounts of all suspects in one table. Cells that are explained are taken out of it."""

    def __init__(self, table: Table, zones: Sequence[range]) -> None:
        self.table = table
        self._zones = zones
        pairs = max(sum(map(len, table.peers)) / 2, 1)
        self.node_cost = EVENT_COST + log(max(3 * len(table.peers), 1))
        self.zone_cost = EVENT_COST + log(max(len(zones) * (len(zones) + 1) / 2, 1))
        self.pair_cost = EVENT_COST + log(pairs)
        self._remembered: dict[Suspect, Counter[Raw]] = {}

    def account(self, suspect: Suspect, without: Suspect | None = None) -> Account | None:
        """Return how well `suspect` explains its cells, but for those of `without`. None: chance explains them.

        A small rise is seen only by cells that are usually fast: half a millisecond doubles the RTT within a zone and
        is little between continents. So a fault is tried with a rise that only cells up to some `sight` can see.
        """
        best = self._best(suspect, without, self.table.least_rate)
        return best if best is not None and best.score > 0 else None

    def alternative(self, suspect: Suspect) -> Account | None:
        """Return how well `suspect` explains its cells, even if chance does better, or its rate is not reported."""
        return self._best(suspect, None, 0.0)

    def _best(self, suspect: Suspect, without: Suspect | None, least_rate: float) -> Account | None:
        counted = self._counted(suspect)
        if without is not None:
            counted = counted - self.table.counted(_shared(suspect, without, self.table))
        cost = self.zone_cost if isinstance(suspect, ZoneSuspect) else self.node_cost
        sights = sorted({sight for (_, trials, _, sight), count in counted.items() if trials and count})
        found = []
        for sight in sights:
            cells = self.table.cells(counted, sight)
            best = fit(cells, least_rate) if _is_enough(sum(cells.values()), sight, sights) else None
            if best is not None:
                found.append(self._account_of(best, cells, cost + log(len(sights)), suspect))
        broad = [each for each in found if each.is_broad]
        return max(broad or found, default=None)

    def _account_of(self, best: Fit, cells: dict[Cell, int], cost: float, suspect: Suspect) -> Account:
        score = best.score - cost
        apart = separate(cells, self.pair_cost / self._cells_of_a_pair(suspect))
        return Account(score, score - apart, best.rate, best.is_broad)

    def _cells_of_a_pair(self, suspect: Suspect) -> int:
        """Return how many cells of each pair see the suspect: the cost of a pair is shared between them."""
        if not isinstance(suspect, NodeSuspect):
            return 2
        return 2 if suspect.side is Side.BOTH and any(self.table.trials[suspect.node]) else 1

    def _counted(self, suspect: Suspect) -> Counter[Raw]:
        """Count the cells of `suspect`, and remember it until a fault is taken out."""
        if suspect not in self._remembered:
            if isinstance(suspect, NodeSuspect) and suspect.side is Side.BOTH:
                row, column = (self._counted(NodeSuspect(suspect.node, side)) for side in (Side.ROW, Side.COLUMN))
                self._remembered[suspect] = row + column
            elif isinstance(suspect, NodeSuspect) and suspect.side is Side.COLUMN:
                self._remembered[suspect] = self.table.counted_column(suspect.node)
            else:
                self._remembered[suspect] = self.table.counted(suspect.spans(self.table))
        return self._remembered[suspect]

    def zone_pairs_of(self, pair: PairSuspect) -> Iterator[ZoneSuspect]:
        """Yield the zone pair of the pair; none where the symptom is in the host that counts it."""
        if not self.table.own_row_only:
            first, second = (next(zone for zone in self._zones if node in zone) for node in (pair.first, pair.second))
            yield ZoneSuspect(first, second)

    def share_of(self, suspect: Suspect) -> float:
        """Return the part of all cells that see the suspect."""
        cells = sum(map(len, self.table.peers))
        return sum(stop - start for _, start, stop in suspect.spans(self.table)) / max(cells, 1)

    def members(self, suspect: Suspect) -> Members:
        """Return the cells of `suspect` that have trials."""
        return Members(self.table, suspect.spans(self.table))

    def take_out(self, fault: Fault) -> None:
        """Take out the cells that a fault explains."""
        take_out(fault, self.table)
        self._remembered.clear()


def take_out(fault: Fault, table: Table) -> None:
    """Take the cells that a fault explains out of a table of the same rows."""
    for sender, position in fault.cells.positions():
        table.clear(sender, position)


def is_seen_by_several(suspect: Suspect, rate: float, table: Table) -> bool:
    """Return whether two witnesses of `suspect` see a fault of this rate, each in a cell at least.

    A rise that few cells are fast enough to see may be the one of a single pair.
    """
    parameters = rate_parameters(min(rate, MOST_RATE))
    first = None
    for sender, start, stop in suspect.spans(table):
        shown = table.shown[sender]
        for position in range(start, stop):
            if shown[position] and log_ratio(table.cell(sender, position), *parameters) > 0:
                witness = suspect.witness(sender, table.peers[sender][position])
                if first is not None and witness != first:
                    return True
                first = witness
    return False


def _is_enough(cells: int, sight: int, sights: Sequence[int]) -> bool:
    return sight == sights[-1] or cells >= FEWEST_SIGHTED


def _shared(one: Suspect, other: Suspect, table: Table) -> Iterator[Span]:
    """Yield the cells of `one` that are of `other` too."""
    if isinstance(one, ZoneSuspect):
        if isinstance(other, ZoneSuspect):  # no cell is of two zone pairs
            return
        one, other = other, one
    for sender, start, stop in one.spans(table):
        for position in range(start, stop):
            if other.contains(sender, table.peers[sender][position]):
                yield sender, position, position + 1
