"""The losses of the last windows: for rates that are too low for one window. Pure.

Only cells that lost something are kept, in arrays: 8 bytes for such a cell and window. So 8 windows of 1,000 nodes that
all lose packets to each other need 64 MB, and a healthy cluster next to nothing. More than 8 windows are remembered
only while few cells lose something: low rates need a long look where the cells are few.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple

from monlat_ebpf.diagnosis.tables import Table
from monlat_ebpf.diagnosis.window import Counts, Window
from monlat_ebpf.model import Result

SPANS: Final = (8, 32)
"""Windows that are summed up for low loss rates: of five probes in a window, 5 % are one in every fourth window. A pair
that loses them in one direction needs the longer span."""
MOST_REMEMBERED: Final = 250_000
"""With more cells with losses than this, in all windows together, only the shortest span of windows is remembered."""
MOST_COUNTED: Final = 65_535
"""A cell with more losses in a window counts as this many."""


class Losses(NamedTuple):
    """Losses of a cell: all of them, those on the way to the peer, those on the way back."""

    lost: int
    forward: int
    back: int


class RowLosses(NamedTuple):
    """The losses of a row in a window: an entry for each peer with losses. `peers` are indices of nodes, ascending."""

    peers: Counts
    lost: Counts
    forward: Counts
    back: Counts


class LossHistory:
    """The losses of one symptom in the last windows.

    It follows nodes by name; the losses of nodes that are gone are forgotten.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._windows: deque[dict[int, RowLosses]] = deque(maxlen=SPANS[-1])

    def add(self, window: Window, table: Table) -> None:
        """Add the losses of a window, before anything is taken out of its table."""
        self._follow(tuple(node.name for node in window.nodes))
        index_type = "H" if len(window.nodes) <= MOST_COUNTED else "I"
        losses = {}
        for sender, (row, shown) in enumerate(zip(window.rows, table.shown, strict=True)):
            positions = [i for i, lost in enumerate(shown) if lost]
            if row is not None and positions:
                peers = array(index_type, [row.peers[i] for i in positions])
                of_row = (shown, row.results.get(Result.LOST_FORWARD), row.results.get(Result.LOST_RETURN))
                losses[sender] = RowLosses(peers, *(_at(positions, counts) for counts in of_row))
        self._windows.append(losses)
        cells = [sum(len(row.peers) for row in rows.values()) for rows in self._windows]
        while len(self._windows) > SPANS[0] and sum(cells[-len(self._windows) :]) > MOST_REMEMBERED:
            self._windows.popleft()

    def _follow(self, names: tuple[str, ...]) -> None:
        if names == self._names:
            return
        index = {name: i for i, name in enumerate(names)}
        moved = [index.get(name) for name in self._names]
        for number, rows in enumerate(self._windows):
            self._windows[number] = {
                now: _moved(row, moved) for sender, row in rows.items() if (now := moved[sender]) is not None
            }
        self._names = names

    def spans(self) -> list[int]:
        """Return the numbers of last windows to sum up, ascending, of which some have a loss; at least 2 windows."""
        known = len(self._windows)
        spans = sorted({min(span, known) for span in SPANS})
        return [span for span in spans if span > 1 and any(self._last(span))]

    def table(self, latest: Table, windows: int) -> Table:
        """Return the losses of the last `windows`, but for each cell those of its worst one.

        So one burst is no evidence for a low rate. Trials are as many in each window as in the latest one; where that
        had fewer probes than the others, no more losses are counted than trials. `latest` is the table added last.
        """
        shown = [array("I", bytes(peers.itemsize * len(peers))) for peers in latest.peers]
        trials = [array("I", (number * (windows - 1) for number in row)) for row in latest.trials]
        rows_of_windows = self._last(windows)
        for sender in set().union(*rows_of_windows):
            total: dict[int, int] = {}
            worst: dict[int, int] = {}
            for rows in rows_of_windows:
                if sender in rows:
                    for peer, lost in zip(rows[sender].peers, rows[sender].lost, strict=True):
                        total[peer] = total.get(peer, 0) + lost
                        worst[peer] = max(worst.get(peer, 0), lost)
            for peer, lost in total.items():
                position = latest.position(sender, peer)
                if position is not None:
                    shown[sender][position] = min(lost - worst[peer], trials[sender][position])
        return replace(latest, shown=shown, trials=trials, windows=windows)

    def _last(self, windows: int) -> list[dict[int, RowLosses]]:
        return list(islice(reversed(self._windows), windows))

    def lost(self, cells: Iterable[tuple[int, int]]) -> list[int]:
        """Return the losses of cells (sender, peer) together, in each remembered window, the latest first."""
        peers: dict[int, set[int]] = {}
        for sender, peer in cells:
            peers.setdefault(sender, set()).add(peer)
        return [
            sum(
                lost
                for sender in rows.keys() & peers.keys()
                for peer, lost in zip(rows[sender].peers, rows[sender].lost, strict=True)
                if peer in peers[sender]
            )
            for rows in reversed(self._windows)
        ]

    def losses(self, sender: int, peer: int, windows: int) -> Losses:
        """Return the losses of a cell in the last windows. Nodes are indices of the window added last."""
        lost = forward = back = 0
        for rows in islice(reversed(self._windows), windows):
            row = rows.get(sender)
            if row is not None:
                position = bisect_left(row.peers, peer)
                if position < len(row.peers) and row.peers[position] == peer:
                    lost += row.lost[position]
                    forward += row.forward[position]
                    back += row.back[position]
        return Losses(lost, forward, back)


def _at(positions: Iterable[int], counts: Counts | None) -> Counts:
    return array("H", [0 if counts is None else min(counts[i], MOST_COUNTED) for i in positions])


def _moved(row: RowLosses, moved: Sequence[int | None]) -> RowLosses:
    kept = sorted((now, i) for i, peer in enumerate(row.peers) if (now := moved[peer]) is not None)
    positions = [i for _, i in kept]
    return RowLosses(array("I", [now for now, _ in kept]), *(_at(positions, counts) for counts in row[1:]))
