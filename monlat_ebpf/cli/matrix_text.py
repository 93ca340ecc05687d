"""The layouts of `monlat matrix`: nodes x nodes, zones x zones, or counts, and the worst pairs. Pure."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from heapq import nlargest
from itertools import groupby
from statistics import median
from typing import Final

from monlat_ebpf.cli.cluster import MEASURED, ClusterMatrix
from monlat_ebpf.cli.rendering import Cell, Column, Layout, Lines, Table, Tone, milliseconds, printable

WORST: Final = 10
"""Pairs listed by name where nodes x nodes is not shown."""

NAMED_AGENTS: Final = 10

HIGH: Final = 4.0
"""A time so many times the median of all is highlighted; the page's colours end there, too."""

TITLES: Final = {
    "rtt": "RTT in ms, last",
    "rtt_p50": "RTT in ms, median since the agent's start",
    "rtt_p99": "RTT in ms, p99 since the agent's start",
    "network_rtt": "network RTT in ms, last",
    "network_rtt_p50": "network RTT in ms, median since the agent's start",
    "network_rtt_p99": "network RTT in ms, p99 since the agent's start",
    "dwell": "dwell in ms: time in the peer's kernel, last",
    "clock_offset": "clock offset in ms: the column's clock minus the row's",
    "clock_offset_error": "largest error of the clock offset in ms",
    "loss": "lost probes of the last minutes",
    "loss_host": "probes of the last minutes lost on their own host",
    "loss_forward": "probes of the last minutes lost on the way there",
    "loss_return": "probes of the last minutes lost on the way back",
    "loss_network": "probes of the last minutes lost in the network, direction not known",
    "loss_unreachable": "probes of the last minutes with an ICMP error",
    "rtt_over_past": "last RTT over the median of the pair's own past",
}
"""What each measure of /api/v1/matrix is."""

_LOSS: Final = "loss"
_OFFSET: Final = "clock_offset"
_OVER_PAST: Final = "rtt_over_past"

_SELF, _LOST, _STALE, _NOT_PROBED, _NO_NUMBER = "-", "lost", "stale", ".", "?"
_MARKS: Final = {
    "-": Cell(_SELF, Tone.FAINT),
    "l": Cell(_LOST, Tone.BAD),
    "s": Cell(_STALE, Tone.WARNING),
    "n": Cell(_NOT_PROBED, Tone.FAINT),
}
_LEGEND: Final = {
    _LOST: "lost: no reply to the last probe",
    _STALE: "stale: the row's agent does not answer",
    _NOT_PROBED: "'.': not probed",
    _NO_NUMBER: "?: measured, this number is not known",
}
_WORST_FIRST: Final = "lsn"

_ZONES_LEGEND: Final = Lines((Cell("each cell: the median of its pairs, and how many of them are lost", Tone.FAINT),))

Pair = tuple[int, int]


def layouts(matrix: ClusterMatrix, *, width: int | None = None, zones_only: bool = False) -> tuple[Layout, ...]:
    """Return what can be shown, the most detailed first; the last one is narrow whatever the size of the cluster.

    Nodes x nodes is left out where its head alone is wider than `width`, or with `zones_only`.
    """
    numbers = sorted(value for row in matrix.values for value in row if not math.isnan(value))
    limit = _high_limit(matrix.measure, numbers)
    head = sum(len(node.name) + 1 for node in matrix.nodes)
    found: list[Layout] = []
    missing = _missing_agents(matrix)
    if not zones_only and (width is None or head <= width):
        found.append((_nodes_table(matrix, limit), _legend(matrix, numbers), *missing))
        if width is None:
            return tuple(found)  # a pipe has room for all
    worst = _worst_pairs(matrix, limit)
    answering = Lines((Cell(_agents(matrix), Tone.FAINT),))
    zones = _zones_table(matrix, limit)
    if zones is not None:
        found.append((zones, _ZONES_LEGEND, *worst, answering, *missing))
    found.append((_summary(matrix, numbers), *worst, answering, *missing))
    return tuple(found)


def _nodes_table(matrix: ClusterMatrix, limit: float) -> Table:
    names = [printable(node.name) for node in matrix.nodes]
    rows = tuple(
        (Cell(name), *(_cell(matrix, (row, column), limit) for column in range(len(names))))
        for row, name in enumerate(names)
    )
    columns = (Column("FROM \\ TO"), *(Column(name, right=True) for name in names))
    return Table(TITLES.get(matrix.measure, matrix.measure), columns, rows)


def _cell(matrix: ClusterMatrix, pair: Pair, limit: float) -> Cell:
    row, column = pair
    letter = matrix.states[row][column]
    if letter != MEASURED:
        return _MARKS[letter]
    value = matrix.values[row][column]
    if math.isnan(value):
        return Cell(_NO_NUMBER, Tone.FAINT)
    return Cell(_number(matrix.measure, value), Tone.WARNING if value > limit else Tone.PLAIN)


def _number(measure: str, value: float) -> str:
    if measure.startswith(_LOSS):
        return f"{100 * value:.3g}%"
    return f"{value:.3g}x" if measure == _OVER_PAST else milliseconds(value)


def _high_limit(measure: str, numbers: Sequence[float]) -> float:
    """Return the value above which a cell is highlighted. `numbers` are all of them, sorted."""
    if measure.startswith(_LOSS):
        return 0.0
    if measure == _OVER_PAST:
        return HIGH
    if measure.startswith(_OFFSET) or not numbers:
        return math.inf
    return HIGH * numbers[len(numbers) // 2]


def _legend(matrix: ClusterMatrix, numbers: Sequence[float]) -> Lines:
    """Explain the marks that the table has, and say how old it is."""
    states = set().union(*matrix.states) if matrix.states else set()
    shown = {_MARKS[letter].text for letter in states - {MEASURED}}
    if sum(row.count(MEASURED) for row in matrix.states) > len(numbers):
        shown.add(_NO_NUMBER)
    marks = [text for mark, text in _LEGEND.items() if mark in shown]
    return Lines((Cell("; ".join((_agents(matrix), *marks)), Tone.FAINT),))


def _agents(matrix: ClusterMatrix) -> str:
    ages = [node.age_seconds for node in matrix.nodes if node.age_seconds is not None and not node.is_stale]
    oldest = f", the oldest answer is {max(ages):.1f} s old" if ages else ""
    return f"{sum(not node.is_stale for node in matrix.nodes)} of {len(matrix.nodes)} agents answer{oldest}"


def _missing_agents(matrix: ClusterMatrix) -> tuple[Lines, ...]:
    """Name the agents that do not answer, and say why."""
    missing = [node for node in matrix.nodes if node.is_stale]
    if not missing:
        return ()
    lines = [
        Cell(printable(f"the agent of {node.name} {node.failure or 'has not answered yet'}"), Tone.WARNING)
        for node in missing[:NAMED_AGENTS]
    ]
    if len(missing) > NAMED_AGENTS:
        lines.append(Cell(f"and {len(missing) - NAMED_AGENTS} more agents do not answer", Tone.WARNING))
    return (Lines(tuple(lines)),)


def _zones_table(matrix: ClusterMatrix, limit: float) -> Table | None:
    """Return zones x zones; None if there are not two. The nodes of a zone follow each other."""
    zones = {
        zone: [index for index, _ in nodes]
        for zone, nodes in groupby(enumerate(matrix.nodes), key=lambda indexed: indexed[1].zone)
    }
    if len(zones) < 2:
        return None
    names = {zone: printable(zone) or "(no zone)" for zone in zones}
    rows = tuple(
        (Cell(name), *(_zone_cell(matrix, zones[one], zones[other], limit) for other in zones))
        for one, name in names.items()
    )
    columns = (Column("FROM \\ TO"), *(Column(name, right=True) for name in names.values()))
    return Table(f"{TITLES.get(matrix.measure, matrix.measure)}; zones", columns, rows)


def _zone_cell(matrix: ClusterMatrix, senders: Sequence[int], receivers: Sequence[int], limit: float) -> Cell:
    """Return the median of the pairs, and how many are lost; without a number, their most serious state."""
    first, end = receivers[0], receivers[-1] + 1
    states: Counter[str] = Counter()
    for row in senders:
        states.update(matrix.states[row][first:end])
    numbers = [value for row in senders for value in matrix.values[row][first:end] if not math.isnan(value)]
    if not numbers:
        if states[MEASURED]:
            return Cell(_NO_NUMBER, Tone.FAINT)
        return next((_MARKS[letter] for letter in _WORST_FIRST if states[letter]), _MARKS["-"])
    middle = median(numbers)
    lost = f", {states['l']} lost" if states["l"] else ""
    tone = Tone.BAD if lost else Tone.WARNING if middle > limit else Tone.PLAIN
    return Cell(_number(matrix.measure, middle) + lost, tone)


def _worst_pairs(matrix: ClusterMatrix, limit: float) -> tuple[Table, ...]:
    """Return the pairs that are lost, then those with the largest numbers; of a clock offset, the sign is left out."""
    lost = [(row, match.start()) for row, letters in enumerate(matrix.states) for match in re.finditer("l", letters)]
    largest = nlargest(
        WORST,
        (
            (abs(value), row, column)
            for row, values in enumerate(matrix.values)
            for column, value in enumerate(values)
            if not math.isnan(value)
        ),
    )
    worst = [*lost, *((row, column) for _, row, column in largest)][:WORST]
    if not worst:
        return ()
    rows = tuple(
        (*(Cell(printable(matrix.nodes[index].name)) for index in pair), _cell(matrix, pair, limit)) for pair in worst
    )
    columns = (Column("FROM"), Column("TO"), Column("", right=True))
    more = f", of {len(lost)} that are lost" if len(lost) > WORST else ""
    return (Table(f"the worst pairs{more}", columns, rows),)


def _summary(matrix: ClusterMatrix, numbers: Sequence[float]) -> Table:
    """Return how many pairs are in each state, and the spread of their numbers, which are sorted."""
    states: Counter[str] = Counter()
    for letters in matrix.states:
        states.update(letters)
    rows = [
        (Cell(name), Cell(str(states[letter]), tone if states[letter] else Tone.PLAIN))
        for name, letter, tone in (
            ("measured", MEASURED, Tone.PLAIN),
            ("lost", "l", Tone.BAD),
            ("stale", "s", Tone.WARNING),
            ("not probed", "n", Tone.PLAIN),
        )
    ]
    for name, share in (("least", 0.0), ("median", 0.5), ("p99", 0.99), ("largest", 1.0)):
        number = _number(matrix.measure, numbers[round(share * (len(numbers) - 1))]) if numbers else _SELF
        rows.append((Cell(name), Cell(number)))
    columns = (Column("PAIRS"), Column("", right=True))
    return Table(TITLES.get(matrix.measure, matrix.measure), columns, tuple(rows))
