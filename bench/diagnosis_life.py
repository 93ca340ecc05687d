"""A simulated cluster without a fault, with what happens in one anyway, for bench/diagnosis.

To the noise of bench/diagnosis_cluster (tails, bursts, hiccups, day and night) it adds:

- Agents restart: each about once a day, and all of them, one after another, once a day. In the window of the restart an
  agent does not answer, and a third of its peers' probes come back without its report. Its next row is empty. None
  restarts in two windows in a row: it would not answer for 10 s, and a diagnosis that says so would be right.
- A node leaves about every eight hours and comes back two hours later. Its peers lose up to three probes each before
  they know. When it comes back, the first rows between it and its peers are empty, and its agent is late by a window.
- The clock of one node is 200 ppm slow, so it sends one probe less in every 1,000th window. RTT and dwell are
  differences of one clock each: 0.02 % less is no change of a bucket.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from random import Random
from typing import NamedTuple

from bench.diagnosis_cluster import DAY_WINDOWS, Cluster
from bench.diagnosis_faults import Broken
from monlat_ebpf.diagnosis.window import Health, Row, Samples, Window
from monlat_ebpf.model import Result

RESTARTS = 1 / DAY_WINDOWS  # for each agent and window
ROLLING_WINDOWS = 120  # that a rolling restart takes
LEAVES = 3 / DAY_WINDOWS
AWAY_WINDOWS = DAY_WINDOWS // 12
MOST_LOST = 3
UNREPORTED = 1 / 3
SLOW_CLOCK_WINDOWS = 1000


class Life:
    """The windows of a cluster in which nothing is broken."""

    def __init__(self, cluster: Cluster, seed: str) -> None:
        self.cluster = cluster
        self.random = random = Random(f"life {seed}")
        self.number = 0
        self.size = len(cluster.nodes)
        self.rolling_at = random.randrange(DAY_WINDOWS)
        self.slow_clock = random.randrange(self.size)
        self.away: dict[int, int] = {}
        """Nodes that have left, with the window in which they come back."""
        self.restarted: set[int] = set()
        self.back: set[int] = set()
        self.counts = {"restarts": 0, "left": 0}

    def window(self) -> Window:
        """Return the next window."""
        self.number += 1
        silent, empty = self._restarts(), self.restarted | self.back
        leaving = self._leaving()
        returning = {node for node, until in self.away.items() if until == self.number}
        self.away = {node: until for node, until in self.away.items() if until > self.number}
        self.restarted, self.back = silent, returning
        rows = list(self.cluster.window(Broken()).rows)
        if silent or leaving or returning:
            rows = [None if row is None else self._row(row, silent, leaving, returning) for row in rows]
        slow = rows[self.slow_clock]
        if slow is not None and self.number % SLOW_CLOCK_WINDOWS == 0:
            replies = slow.results[Result.REPLY]
            one_less = {i: Change(replies[i] - 1, replies[i] - 1, 0) for i in range(len(replies)) if replies[i]}
            rows[self.slow_clock] = edited(slow, one_less)
        for node in empty:
            rows[node] = _empty_row()
        for node in silent | leaving | returning:
            rows[node] = None
        return without(Window(self.cluster.nodes, rows), set(self.away) - leaving)

    def _restarts(self) -> set[int]:
        """Return the agents that start again in this window."""
        here = (self.number - self.rolling_at) % DAY_WINDOWS
        each = math.ceil(self.size / ROLLING_WINDOWS)
        rolling = set(range(here * each, min((here + 1) * each, self.size)))
        found = rolling | {node for node in range(self.size) if self.random.random() < RESTARTS}
        found -= set(self.away) | self.restarted
        self.counts["restarts"] += len(found)
        return found

    def _leaving(self) -> set[int]:
        if self.size < 5 or self.random.random() >= LEAVES:
            return set()
        node = self.random.randrange(self.size)
        if node in self.away:
            return set()
        self.away[node] = self.number + AWAY_WINDOWS
        self.counts["left"] += 1
        return {node}

    def _row(self, row: Row, silent: set[int], leaving: set[int], returning: set[int]) -> Row:
        """Return what an agent sees of those that start, leave and come back."""
        changes = {}
        for i, peer in enumerate(row.peers):
            replies = row.results[Result.REPLY][i]
            if peer in leaving:
                until = self.random.randint(0, replies)
                changes[i] = Change(until, until, self.random.randint(0, MOST_LOST))
            elif peer in returning:
                changes[i] = Change(0, 0, 0)
            elif peer in silent:
                changes[i] = Change(replies, round(replies * (1 - UNREPORTED)), 0)
        return edited(row, changes) if changes else row


def _empty_row() -> Row:
    none = Samples.of(())
    return Row(array("I"), {Result.REPLY: array("I")}, none, Health(0), none, none)


class Change(NamedTuple):
    """Of a cell: so many replies, of which so many with a report, and so many more losses."""

    replies: int
    reported: int
    lost: int


def edited(row: Row, changes: Mapping[int, Change]) -> Row:
    """Return a row whose cells at these positions are changed."""
    results = {result: counts[:] for result, counts in row.results.items()}
    lost = results.setdefault(Result.LOST_NETWORK, array("I", bytes(4 * len(row.peers))))
    network, dwell = (None if each is None else _cells(each) for each in (row.network_rtt, row.dwell))
    for i, change in changes.items():
        if not change.replies:
            for counts in results.values():
                counts[i] = 0
        results[Result.REPLY][i] = change.replies
        lost[i] += change.lost
        for cells in (network, dwell):
            if cells is not None:
                cells[i] = cells[i][: change.reported]
    network_rtt, dwell_of_peers = (None if each is None else Samples.of(each) for each in (network, dwell))
    return replace(row, results=results, network_rtt=network_rtt, dwell=dwell_of_peers)


def _cells(samples: Samples) -> list[bytes]:
    return [samples.buckets[start:end] for start, end in zip([0, *samples.ends], samples.ends, strict=False)]


def without(window: Window, gone: set[int]) -> Window:
    """Return a window of the other nodes: nobody lists or probes those that are gone."""
    if not gone:
        return window
    index = {node: i for i, node in enumerate(node for node in range(len(window.nodes)) if node not in gone)}
    rows = [None if row is None else _row_without(row, index) for node, row in enumerate(window.rows) if node in index]
    return Window(tuple(window.nodes[node] for node in index), rows)


def _row_without(row: Row, index: Mapping[int, int]) -> Row:
    kept = [i for i, peer in enumerate(row.peers) if peer in index]
    results = {result: array("I", [counts[i] for i in kept]) for result, counts in row.results.items()}
    rtt, network, dwell = (_at(samples, kept) for samples in (row.rtt, row.network_rtt, row.dwell))
    assert rtt is not None
    return Row(array("I", [index[row.peers[i]] for i in kept]), results, rtt, row.health, network, dwell)


def _at(samples: Samples | None, kept: Sequence[int]) -> Samples | None:
    if samples is None:
        return None
    cells = _cells(samples)
    return Samples(b"".join(cells[i] for i in kept), array("I", accumulate(len(cells[i]) for i in kept)))
