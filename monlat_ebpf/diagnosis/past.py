"""What is usual for the latency of each cell, learned from earlier windows; and what of a window is slower. Pure.

For each cell two numbers are kept. `level` is its usual median: each window's median moves it by a fixed small step, up
or down, so that no outlier, however large, moves it further than any other window (a running median, see Tukey,
"Exploratory Data Analysis", and the stochastic approximation of Robbins and Monro, 1951). `tail` is the usual share of
samples that are slow by chance. Five bytes a cell: 5 MB for a million cells.

What was slow from the first window on is taken for usual: a fault is found by its begin.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND, bucket_of
from monlat_ebpf.diagnosis.window import NONE, Counts, Row, Samples, Window

SLOW_FACTOR: Final = 1.5
"""A sample is slow when it is longer than this many times the usual median."""
SLOW_AT_LEAST_SECONDS: Final = 50e-6
"""A smaller rise is never slow: on idle nodes with 50 µs between them, frequency scaling alone does that."""
UNITS: Final = 256
"""Of `level`, in a bucket (9 %)."""
EVERY: Final = 4
"""A row learns from one window of so many, once it is not young: a million cells take a second."""
STEP: Final = 32
"""Of `level`, in a window that is learned: it follows a change of 9 % in 160 s (8 steps, windows of 5 s)."""
SLOW_STEP: Final = 4
"""Of `level`, when the window is slow: a change of route that stays becomes usual, but not soon. Twice the time is slow
for an hour, until `level` has risen by three buckets (64 steps for each, windows of 5 s)."""
YOUNG: Final = 8
"""Windows in which `level` is the mean of the medians, before single steps follow."""
LEARNED: Final = 4
"""Windows with samples before a cell is judged."""
OLDEST: Final = 255
TAIL_SCALE: Final = 65_535
TAIL_WINDOWS: Final = 16
"""Over how many of the windows that are learned, about, `tail` is the mean."""
TAIL_RATES: Final = (0.03, 0.06, 0.12, 0.24, 0.48)
"""The classes of `tail`. Below 3 % in 16 windows of five samples, the share of slow samples is not known well."""
NO_LIMIT: Final = layout.BUCKETS - 1
"""No bucket is above it."""


def _level_seconds(level: float) -> float:
    """Return the time in the middle, on a logarithmic scale, of the bucket that `level` is in."""
    return math.exp2(layout.LOWEST_OCTAVE + (level / UNITS - 0.5) / layout.BUCKETS_PER_OCTAVE)


def _limit_seconds(level: float) -> float:
    usual = _level_seconds(level)
    return max(SLOW_FACTOR * usual, usual + SLOW_AT_LEAST_SECONDS)


def _limit_of(level: float) -> int:
    return min(bucket_of(round(_limit_seconds(level) * NANOSECONDS_PER_SECOND)), NO_LIMIT)


def _sight_of(level: float) -> int:
    """Return the class of the rise that makes a cell slow: half an octave is a class."""
    return max(round(2 * math.log2((_limit_seconds(level) - _level_seconds(level)) * NANOSECONDS_PER_SECOND)), 0)


_PER_BUCKET: Final = 16  # limits are computed for levels a sixteenth of a bucket apart
_SHIFT: Final = (UNITS // _PER_BUCKET).bit_length() - 1
_LIMITS: Final = bytes(_limit_of(i * UNITS / _PER_BUCKET) for i in range(layout.BUCKETS * _PER_BUCKET))
_SIGHTS: Final = bytes(_sight_of(i * UNITS / _PER_BUCKET) for i in range(layout.BUCKETS * _PER_BUCKET))
_CLASSES: Final = bytes(
    next((i for i, rate in enumerate(TAIL_RATES) if share <= rate * 256), len(TAIL_RATES) - 1) for share in range(256)
)
"""The class of a tail, by its upper 8 bits."""
_UPPER_BYTE: Final = 1 if sys.byteorder == "little" else 0


@dataclass(slots=True)
class RowPast:
    """The past of a row: for each of `peers` its level, its tail, and how many windows it has learned from.

    `windows` counts all windows of the row.
    """

    peers: Counts
    level: Counts
    tail: Counts
    age: bytearray
    windows: int = 0

    @staticmethod
    def new(peers: Counts) -> RowPast:
        """Return the past of peers of whom nothing is known."""
        count = len(peers)
        tail = array("H", [int(TAIL_RATES[0] * TAIL_SCALE)]) * count
        return RowPast(peers, array("H", bytes(2 * count)), tail, bytearray(count))

    def moved(self, peers: Counts, was: Sequence[int]) -> RowPast:
        """Return the past of another list of peers. `was` gives for each its former index, or NONE."""
        positions = {peer: position for position, peer in enumerate(self.peers)}
        moved = RowPast.new(peers)
        for position, peer in enumerate(was):
            before = positions.get(peer)
            if before is not None:
                moved.level[position] = self.level[before]
                moved.tail[position] = self.tail[before]
                moved.age[position] = self.age[before]
        return moved


@dataclass(frozen=True, slots=True)
class Judged:
    """A row against its past: of `trials` samples, `slow` were slow; a share TAIL_RATES[usual] is by chance.

    `medians` are buckets, of the window; `levels` were the usual ones. `sight` is the class of the rise
    that makes a cell slow. A cell with a short past has no trials.
    """

    slow: list[int]
    trials: list[int]
    usual: bytearray
    medians: list[int]
    levels: Counts
    sight: bytearray


@dataclass(slots=True)
class Past:
    """The past of all cells of one kind of time. It follows nodes by name when the list of nodes changes."""

    names: tuple[str, ...] = ()
    rows: dict[str, RowPast] = field(default_factory=dict)

    def follow(self, window: Window) -> None:
        """Take over the nodes of `window`. Nodes that are gone are forgotten."""
        names = tuple(node.name for node in window.nodes)
        if names == self.names:
            return
        index = {name: i for i, name in enumerate(self.names)}
        was = [index.get(name, NONE) for name in names]
        is_now = {before: now for now, before in enumerate(was) if before != NONE}
        for name in self.rows.keys() - set(names):
            del self.rows[name]
        for name, row in self.rows.items():
            peers = array("I", sorted(is_now[peer] for peer in row.peers if peer in is_now))
            self.rows[name] = row.moved(peers, [was[peer] for peer in peers])
        self.names = names

    def row(self, name: str, peers: Counts) -> RowPast:
        """Return the past of the row of node `name` for these peers (indices of the nodes followed)."""
        found = self.rows.get(name)
        if found is None:
            found = self.rows[name] = RowPast.new(peers)
            found.windows = len(self.rows)  # so that not all rows learn from the same window
        elif found.peers != peers:
            found = self.rows[name] = found.moved(peers, peers)
        return found


def judge(past: RowPast, samples: Samples) -> Judged:
    """Compare the samples of a row with its past."""
    limits = [_LIMITS[level >> _SHIFT] for level in past.level]
    trials = [count if age >= LEARNED else 0 for count, age in zip(samples.counts(), past.age, strict=True)]
    slow = [count if number else 0 for count, number in zip(samples.counts_above(limits), trials, strict=True)]
    return Judged(
        slow,
        trials,
        bytearray(past.tail.tobytes()[_UPPER_BYTE::2].translate(_CLASSES)),
        samples.medians(),
        past.level[:],
        bytearray(_SIGHTS[level >> _SHIFT] for level in past.level),
    )


def learn(past: RowPast, judged: Judged) -> None:
    """Let the past of a row take in a window that was judged by it: each window at first, then every fourth."""
    past.windows += 1
    if past.windows % EVERY and min(past.age, default=0) >= YOUNG:
        return
    level, tail, age = past.level, past.tail, past.age
    for i, (median, slow, trials) in enumerate(zip(judged.medians, judged.slow, judged.trials, strict=True)):
        if median == NONE:
            continue
        middle = median * UNITS
        windows = age[i]
        if windows < YOUNG:
            if windows == 0:
                level[i] = middle
            else:
                step = (middle - level[i]) // (windows + 1)
                level[i] += max(min(step, UNITS), -UNITS)
        else:
            step = SLOW_STEP if 2 * slow > trials else STEP
            if level[i] < middle:
                level[i] += min(step, middle - level[i])
            else:
                level[i] -= min(step, level[i] - middle)
        if windows < OLDEST:
            age[i] = windows + 1
        if trials and 2 * slow <= trials:
            tail[i] += (slow * TAIL_SCALE // trials - tail[i]) // TAIL_WINDOWS


def rises(judged: Judged, position: int) -> tuple[float, float]:
    """Return the usual median of a cell with samples, and that of the window, in seconds."""
    return _level_seconds(judged.levels[position]), _level_seconds(judged.medians[position] * UNITS)


def judge_network(networks: Past, rtts: Past, name: str, row: Row) -> Judged:
    """Judge the network RTT of the row of node `name`, and learn it; for peers that have never reported, the RTT.

    The two have separate pasts: a peer that stops reporting must not seem slower by its dwell.
    """
    if row.network_rtt is None:
        return judge_and_learn(rtts.row(name, row.peers), row.rtt)
    past = networks.row(name, row.peers)
    without = [position for position, age in enumerate(past.age) if not age]
    judged = judge_and_learn(past, row.network_rtt)
    silent = [position for position in without if judged.medians[position] == NONE]
    if silent:
        instead = judge_and_learn(rtts.row(name, row.peers), row.rtt)
        for i in silent:
            judged.slow[i], judged.trials[i] = instead.slow[i], instead.trials[i]
            judged.usual[i], judged.medians[i] = instead.usual[i], instead.medians[i]
            judged.levels[i], judged.sight[i] = instead.levels[i], instead.sight[i]
    return judged


def judge_and_learn(past: RowPast, samples: Samples) -> Judged:
    """Compare the samples of a row with its past, then let the past take them in."""
    judged = judge(past, samples)
    learn(past, judged)
    return judged
