"""A window as tables: for each cell, how many of its trials show a symptom, and what part does so by chance. Pure.

Only cells of agents that answered, and that are not short of CPU, have trials. A pair that is not probed has none, so
it is no evidence for anything. The loss rate by chance is learned from what earlier windows left unexplained; it is
never estimated from a cell's own counts.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import add
from typing import Final

from monlat_ebpf.diagnosis.findings import Symptom
from monlat_ebpf.diagnosis.likelihood import Cell
from monlat_ebpf.diagnosis.past import TAIL_RATES, Judged
from monlat_ebpf.diagnosis.window import Counts, Row, Window
from monlat_ebpf.model import Result

LOST_BEHIND_HOST: Final = (Result.LOST_NETWORK, Result.LOST_FORWARD, Result.LOST_RETURN, Result.UNREACHABLE)
LOST_IN_HOST: Final = (Result.LOST_HOST, Result.SEND_ERROR)
LEAST_RATES: Final = {Symptom.LOSS: 0.005, Symptom.HOST_LOSS: 0.005, Symptom.SLOW: 0.3, Symptom.DWELL: 0.3}
"""A fault with less of the symptom is not reported, however many probes prove it."""

LEAST_BACKGROUND: Final = 2e-4
"""Loss by chance, of a round trip. Fewer losses are not expected even where none was seen for long."""
MOST_BACKGROUND: Final = 0.01
BACKGROUND_WINDOWS: Final = 32
"""Over how many windows, about, the loss by chance is the mean."""

Span = tuple[int, int, int]
"""Cells of one row: the row, the first position, and the one after the last."""
Raw = tuple[int, int, int, int]
"""The counts of a cell as a table has them: shown, trials, the index of its rate by chance, and its sight."""


@dataclass(slots=True)
class Table:
    """The counts of one symptom. Row a has an entry for each of `peers[a]`, in three arrays; stale rows are empty.

    `shown` of `trials` have the symptom, a share rates[usual] of them by chance. `windows` says how many windows the
    counts are summed over. `sight` is larger for cells that only a larger fault shows in. `own_row_only`: the symptom
    is in the host that counts it, so columns say nothing.
    """

    symptom: Symptom
    peers: list[Counts]
    shown: list[Counts]
    trials: list[Counts]
    usual: list[bytearray]
    sight: list[bytes]
    rates: tuple[float, ...]
    windows: int = 1
    own_row_only: bool = False

    @property
    def least_rate(self) -> float:
        """The least share of trials of a fault."""
        return LEAST_RATES[self.symptom]

    def copy(self) -> Table:
        """Return a table whose cells can be taken out without changing this one."""
        return replace(self, shown=[each[:] for each in self.shown], trials=[each[:] for each in self.trials])

    def position(self, sender: int, peer: int) -> int | None:
        """Return where the cell is in the arrays of row `sender`, None if there is none."""
        peers = self.peers[sender]
        position = bisect_left(peers, peer)
        return position if position < len(peers) and peers[position] == peer else None

    def column(self, node: int) -> Iterator[Span]:
        """Yield the cells of all rows whose peer is `node`, each as a span."""
        for sender, peers in enumerate(self.peers):
            position = bisect_left(peers, node)
            if position < len(peers) and peers[position] == node:
                yield sender, position, position + 1

    def cell(self, sender: int, position: int) -> Cell:
        """Return the counts of a cell."""
        usual = self.rates[self.usual[sender][position]]
        return Cell(self.shown[sender][position], self.trials[sender][position], usual)

    def counted(self, spans: Iterable[Span]) -> Counter[Raw]:
        """Count equal cells. Cells without trials are counted too."""
        arrays = list(zip(self.shown, self.trials, self.usual, self.sight, strict=True))
        return Counter(chain.from_iterable(_raw(*arrays[sender], start, stop) for sender, start, stop in spans))

    def counted_column(self, node: int) -> Counter[Raw]:
        """Count equal cells of a column: as `counted(column(node))`, in less time."""
        found: list[Raw] = []
        for peers, shown, trials, usual, sight in zip(
            self.peers, self.shown, self.trials, self.usual, self.sight, strict=True
        ):
            i = bisect_left(peers, node)
            if i < len(peers) and peers[i] == node:
                found.append((shown[i], trials[i], usual[i], sight[i]))
        return Counter(found)

    def cells(self, counted: Mapping[Raw, int], sight: int) -> dict[Cell, int]:
        """Return counted cells that have trials, up to a sight, with the rate by chance."""
        found: dict[Cell, int] = {}
        for (shown, trials, usual, of_cell), count in counted.items():
            if trials and of_cell <= sight:
                cell = Cell(shown, trials, self.rates[usual])
                found[cell] = found.get(cell, 0) + count
        return found

    def by_chance(self, sender: int) -> float:
        """Return how many of the trials of a row have the symptom by chance."""
        if len(self.rates) == 1:
            return self.rates[0] * sum(self.trials[sender])
        return sum(
            trials * self.rates[usual] for trials, usual in zip(self.trials[sender], self.usual[sender], strict=True)
        )

    def clear(self, sender: int, position: int) -> None:
        """Take a cell out: it is explained."""
        self.shown[sender][position] = self.trials[sender][position] = 0

    def totals(self) -> tuple[int, int]:
        """Return shown and trials of all cells."""
        return sum(map(sum, self.shown)), sum(map(sum, self.trials))


def _sums(row: Row, results: Sequence[Result]) -> list[int]:
    counts: list[int] = [0] * len(row.peers)
    for result in results:
        if result in row.results:
            counts = list(map(add, counts, row.results[result]))
    return counts


def loss_table(window: Window, unfit: Container[int], background: float) -> Table:
    """Return the losses behind the hosts; trials are all probes that left the host. `unfit` rows are left out."""
    table = Table(Symptom.LOSS, [], [], [], [], [], (background,))
    for index, row in enumerate(window.rows):
        if row is None or index in unfit:
            _append(table, array("I"), (), ())
        else:
            lost = _sums(row, LOST_BEHIND_HOST)
            _append(table, row.peers, lost, map(add, lost, _sums(row, (Result.REPLY,))))
    return table


def host_loss_table(window: Window, unfit: Container[int], background: float) -> Table:
    """Return the losses in the hosts that probe; trials are all probes."""
    table = Table(Symptom.HOST_LOSS, [], [], [], [], [], (background,), own_row_only=True)
    for index, row in enumerate(window.rows):
        if row is None or index in unfit:
            _append(table, array("I"), (), ())
        else:
            lost = _sums(row, LOST_IN_HOST)
            _append(table, row.peers, lost, map(add, lost, _sums(row, (Result.REPLY, *LOST_BEHIND_HOST))))
    return table


def slow_table(window: Window, judged: Mapping[int, Judged], symptom: Symptom) -> Table:
    """Return what is slower than its past; `judged` has the rows that count."""
    table = Table(symptom, [], [], [], [], [], TAIL_RATES, own_row_only=symptom is Symptom.DWELL)
    for index, row in enumerate(window.rows):
        if row is None or index not in judged:
            _append(table, array("I"), (), ())
        else:
            of_row = judged[index]
            _append(table, row.peers, of_row.slow, of_row.trials, of_row.usual, bytes(of_row.sight))
    return table


def _append(
    table: Table,
    peers: Counts,
    shown: Sequence[int],
    trials: Sequence[int] | map[int],
    usual: bytearray | None = None,
    sight: bytes | None = None,
) -> None:
    table.peers.append(peers)
    table.shown.append(array("I", shown))
    table.trials.append(array("I", trials))
    table.usual.append(bytearray(len(peers)) if usual is None else usual)
    table.sight.append(bytes(len(peers)) if sight is None else sight)


def _raw(shown: Counts, trials: Counts, usual: bytearray, sight: bytes, start: int, stop: int) -> Iterable[Raw]:
    if stop - start == 1:
        return ((shown[start], trials[start], usual[start], sight[start]),)
    return zip(shown[start:stop], trials[start:stop], usual[start:stop], sight[start:stop], strict=True)


def learned_background(background: float, table: Table) -> float:
    """Return the loss by chance after a window of which `table` is what no fault explains."""
    lost, trials = table.totals()
    if not trials:
        return background
    learned = background + (lost / trials - background) / BACKGROUND_WINDOWS
    return min(max(learned, LEAST_BACKGROUND), MOST_BACKGROUND)
