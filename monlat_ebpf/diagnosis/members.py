"""The cells of a fault. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from monlat_ebpf.diagnosis.likelihood import Cell
from monlat_ebpf.diagnosis.tables import Span, Table

Member = tuple[int, int, int, Cell]
"""A cell of a fault: sender, position in its row, peer, counts."""


class Members:
    """The cells of a fault with their counts at this time; no object for a cell, since a fault may have a million."""

    def __init__(self, table: Table, spans: Iterable[Span]) -> None:
        """Take the cells in `spans` that have trials."""
        self._rates = table.rates
        self._senders, self._positions, self._peers = array("I"), array("I"), array("I")
        self._shown, self._trials, self._usual = array("I"), array("I"), bytearray()
        for sender, start, stop in spans:
            trials = table.trials[sender]
            positions = [i for i in range(start, stop) if trials[i]]
            self._senders.extend([sender] * len(positions))
            self._positions.extend(positions)
            for ours, theirs in (
                (self._peers, table.peers),
                (self._shown, table.shown),
                (self._trials, table.trials),
                (self._usual, table.usual),
            ):
                ours.extend(map(theirs[sender].__getitem__, positions))

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self._senders)

    def __iter__(self) -> Iterator[Member]:
        """Yield each cell."""
        rates = self._rates
        for sender, position, peer, shown, trials, usual in zip(
            self._senders, self._positions, self._peers, self._shown, self._trials, self._usual, strict=True
        ):
            yield sender, position, peer, Cell(shown, trials, rates[usual])

    def positions(self) -> Iterator[tuple[int, int]]:
        """Yield the sender of each cell and its position in the row."""
        return zip(self._senders, self._positions, strict=True)

    def sums(self) -> tuple[int, int]:
        """Return shown and trials of all cells."""
        return sum(self._shown), sum(self._trials)

    @property
    def rate(self) -> float:
        """The share of trials with the symptom."""
        shown, trials = self.sums()
        return shown / max(trials, 1)
