"""The input of a diagnosis: what all agents measured in one closed window. Pure.

A row is what one agent measured, a cell what it measured of one peer. A cluster of 1,000 nodes has a million cells, so
a row keeps arrays with an entry for each peer, and no object for a cell.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from operator import lt
from typing import Final, NamedTuple, TypeAlias

from monlat_ebpf.model import Histogram, Result

Counts: TypeAlias = "array[int]"
"""Whole numbers from 0, an entry for each peer of a row. (Python 3.11 cannot subscript the class when it runs.)"""
NONE: Final = -1
"""The median of a cell without a sample."""


class Node(NamedTuple):
    """A node of the cluster. `zone` is "" where it is not known."""

    name: str
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """What an agent reports of itself: probes sent, due but skipped, and how late it sent (None: not known)."""

    sent: int
    skipped: int = 0
    lag: Histogram | None = None


@dataclass(frozen=True, slots=True)
class Samples:
    """The times of a row, as indices of histogram buckets (`abi.histogram`), a byte each.

    `buckets` holds the samples of all peers one after another, those of a peer in ascending order; `ends[i]` is where
    the samples of peer i end. It is a histogram of each cell that needs no more bytes than the cell has samples.
    """

    buckets: bytes
    ends: Counts

    @staticmethod
    def of(cells: Iterable[bytes]) -> Samples:
        """Return the samples of cells, each a string of bucket indices in ascending order."""
        pieces = list(cells)
        ends, end = array("I"), 0
        for piece in pieces:
            end += len(piece)
            ends.append(end)
        return Samples(b"".join(pieces), ends)

    @staticmethod
    def of_histograms(histograms: Iterable[Histogram]) -> Samples:
        """Return the samples that `histograms` count, a histogram for each peer."""
        return Samples.of(
            b"".join(bytes((bucket,)) * count for bucket, count in enumerate(histogram.buckets) if count)
            for histogram in histograms
        )

    def counts(self) -> list[int]:
        """Return the number of samples of each peer."""
        return [end - start for start, end in zip(chain((0,), self.ends), self.ends, strict=False)]

    def counts_above(self, limits: Sequence[int]) -> list[int]:
        """Return for each peer how many samples are in buckets above its limit."""
        buckets = self.buckets
        return [
            end - bisect_right(buckets, limit, start, end)
            for limit, start, end in zip(limits, chain((0,), self.ends), self.ends, strict=False)
        ]

    def medians(self) -> list[int]:
        """Return for each peer the bucket of its median sample (the upper one of two); NONE without a sample."""
        buckets = self.buckets
        return [
            buckets[(start + end) // 2] if end > start else NONE
            for start, end in zip(chain((0,), self.ends), self.ends, strict=False)
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """What one agent measured in the window. All arrays have an entry for each of `peers`.

    `peers` are indices of `Window.nodes`, ascending, those that the agent probes. `results` counts the probes that
    ended in the window, over all address families; a result that is left out counts zero. `rtt` and `network_rtt` are
    of this agent's probes; `network_rtt` covers the probes that the peer reported. `dwell` is the time that this node's
    kernel took to answer the peer's probes. `sent` counts the probes that were sent in the window: a lost one ends some
    seconds later than it was sent. None: not known.
    """

    peers: Counts
    results: Mapping[Result, Counts]
    rtt: Samples
    health: Health
    network_rtt: Samples | None = None
    dwell: Samples | None = None
    sent: Counts | None = None

    def __post_init__(self) -> None:
        """Raise ValueError when peers are not in order, or arrays differ in length."""
        if not all(map(lt, self.peers, self.peers[1:])):
            raise ValueError("the peers of a row must be in ascending order")
        arrays = [each.ends for each in (self.rtt, self.network_rtt, self.dwell) if each is not None]
        if self.sent is not None:
            arrays.append(self.sent)
        if any(len(each) != len(self.peers) for each in chain(self.results.values(), arrays)):
            raise ValueError("every array of a row must have an entry for each peer")

    def position(self, peer: int) -> int | None:
        """Return the position of node `peer` in the arrays, None if the agent does not probe it."""
        position = bisect_left(self.peers, peer)
        return position if position < len(self.peers) and self.peers[position] == peer else None


class CellState(StrEnum):
    """What is known of an ordered pair.

    MEASURED: a probe was answered. LOST: probes ended, and none was answered. STALE: the agent that probes has not
    answered, so nothing is known. NOT_PROBED: the agent does not probe this peer, or no probe has ended yet.
    """

    MEASURED = "measured"
    LOST = "lost"
    STALE = "stale"
    NOT_PROBED = "not_probed"


@dataclass(frozen=True, slots=True)
class Window:
    """A closed window: all that was measured in it, by all agents.

    `nodes` are in order of their zone, so that the nodes of a zone are one range. `rows` has an entry for each node,
    None where the agent did not answer. Windows follow each other without a gap and are equally long.
    """

    nodes: tuple[Node, ...]
    rows: Sequence[Row | None]

    def __post_init__(self) -> None:
        """Raise ValueError when the nodes of a zone are apart, names repeat, or rows do not fit the nodes."""
        zones = [node.zone for node in self.nodes]
        if len([zone for i, zone in enumerate(zones) if i == 0 or zone != zones[i - 1]]) != len(set(zones)):
            raise ValueError("the nodes of a zone must follow each other")
        if len({node.name for node in self.nodes}) != len(self.nodes):
            raise ValueError("two nodes have the same name")
        if len(self.rows) != len(self.nodes):
            raise ValueError("there must be a row for each node")
        for index, row in enumerate(self.rows):
            if row is not None and row.peers and (row.peers[-1] >= len(self.nodes) or row.position(index) is not None):
                raise ValueError(f"the row of {self.nodes[index].name} has a peer that is no other node")

    def state(self, sender: int, peer: int) -> CellState:
        """Return the state of the cell from node `sender` to node `peer` (indices)."""
        row = self.rows[sender]
        if row is None:
            return CellState.STALE
        position = row.position(peer)
        if position is None or not any(counts[position] for counts in row.results.values()):
            return CellState.NOT_PROBED
        replies = row.results.get(Result.REPLY)
        return CellState.MEASURED if replies is not None and replies[position] else CellState.LOST

    def zone_ranges(self) -> dict[str, range]:
        """Return for each zone the indices of its nodes."""
        found: dict[str, range] = {}
        for index, node in enumerate(self.nodes):
            found[node.zone] = range(found[node.zone].start if node.zone in found else index, index + 1)
        return found
