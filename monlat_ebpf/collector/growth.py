"""What an agent counted between two of its answers. Pure.

Counts never fall while a pair is measured. A pair whose counts fell has been made anew, so it is left out: what was
counted between the two answers is not known of it. `Growth` never has more than the later answer has.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import compress
from operator import sub
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.collector.answer import invalid
from monlat_ebpf.collector.counts import COUNTERS, AgentCounts, Buckets
from monlat_ebpf.diagnosis.window import Counts, Health
from monlat_ebpf.model import Histogram, HistogramKind

MOST_OF_ALL: Final = 16_000_000
"""Samples of a kind in a row, a byte each: 5,000 peers in ten minutes at five a second."""
MOST_DUE: Final = 1_000_000
"""Probes that were due in a window. An agent that skipped more of them counts what it missed long before."""

_BYTES: Final = [bytes((bucket,)) for bucket in range(layout.BUCKETS)]

Cells = list[bytes]
"""The samples of each pair of nodes: a byte each, the number of its bucket, in ascending order."""


@dataclass(slots=True)
class Growth:
    """What was counted of the nodes `to`, over all address families.

    `counters` has an array of the probes sent, and one for each Result in their order; `samples` has the cells of each
    kind that is known.
    """

    to: list[str]
    counters: list[Counts]
    samples: dict[HistogramKind, Cells]
    health: Health


def growth(before: AgentCounts, now: AgentCounts, most: int) -> Growth:
    """Return what was counted from `before` to `now`. Raises AskError when a pair has more than `most` probes.

    Kinds of histograms that one of the two does not have are left out.
    """
    there = {key: position for position, key in enumerate(before.pairs)}
    kinds = [kind for kind in now.histograms if kind in before.histograms]
    found = Growth([], [array("I") for _ in range(COUNTERS)], {kind: [] for kind in kinds}, Health(0))
    positions: dict[str, int] = {}
    fallen: set[str] = set()
    for here, key in enumerate(now.pairs):
        earlier = there.get(key)
        if earlier is None:
            continue
        to = key[0]
        counters = _counters(before, earlier, now, here, most)
        cells: list[bytes] = []
        for kind in kinds:
            cell = _grown(before.histograms[kind], earlier, now.histograms[kind], here, most)
            if cell is not None:
                cells.append(cell)
        if counters is None or len(cells) < len(kinds):
            fallen.add(to)
        elif (position := positions.get(to)) is None:
            positions[to] = len(found.to)
            _append(found, to, counters, cells)
        else:
            _add(found, position, counters, cells)
    if any(sum(map(len, cells_of_kind)) > MOST_OF_ALL for cells_of_kind in found.samples.values()):
        raise invalid("it has more samples than there can be")
    found.health = _health(before, now, sum(found.counters[0]))
    return only(found, set(found.to) - fallen) if fallen else found


def _append(found: Growth, to: str, counters: Sequence[int], cells: Sequence[bytes]) -> None:
    found.to.append(to)
    for counts, number in zip(found.counters, counters, strict=True):
        counts.append(number)
    for of_kind, cell in zip(found.samples.values(), cells, strict=True):
        of_kind.append(cell)


def _add(found: Growth, position: int, counters: Sequence[int], cells: Sequence[bytes]) -> None:
    """Add another address family to a node."""
    for counts, number in zip(found.counters, counters, strict=True):
        counts[position] += number
    for of_kind, cell in zip(found.samples.values(), cells, strict=True):
        of_kind[position] = bytes(sorted(of_kind[position] + cell))


def only(of: Growth, names: Set[str]) -> Growth:
    """Return the growth of these nodes alone."""
    chosen = [name in names for name in of.to]
    return Growth(
        list(compress(of.to, chosen)),
        [array("I", compress(counts, chosen)) for counts in of.counters],
        {kind: list(compress(cells, chosen)) for kind, cells in of.samples.items()},
        of.health,
    )


def grown_counts(before: Buckets | None, earlier: int, now: Buckets, here: int) -> dict[int, int] | None:
    """Return by bucket the samples of a histogram since `before` (None: all of them); None when a count fell."""
    span = now.span(here)
    numbers, counts = now.numbers[span], now.counts[span]
    if before is None:
        return dict(zip(numbers, counts, strict=True))
    old = dict(zip(before.numbers[before.span(earlier)], before.counts[before.span(earlier)], strict=True))
    grown = {number: count - old.pop(number, 0) for number, count in zip(numbers, counts, strict=True)}
    if any(old.values()) or any(count < 0 for count in grown.values()):
        return None
    return grown


def _counters(before: AgentCounts, earlier: int, now: AgentCounts, here: int, most: int) -> list[int] | None:
    start, base = here * COUNTERS, earlier * COUNTERS
    grown = list(map(sub, now.counters[start : start + COUNTERS], before.counters[base : base + COUNTERS]))
    if min(grown) < 0:
        return None
    if max(grown) > most:
        raise invalid("it has more probes than can be sent")
    return grown


def _grown(before: Buckets, earlier: int, now: Buckets, here: int, most: int) -> bytes | None:
    """Return the new samples of a histogram; None when a count fell."""
    span, base = now.span(here), before.span(earlier)
    numbers, counts = now.numbers[span], now.counts[span]
    if numbers == before.numbers[base]:  # the usual case, in the shortest time
        old_counts = before.counts[base]
        if counts == old_counts:
            return b""
        grown = list(map(sub, counts, old_counts))
        if min(grown) < 0:
            return None
    else:
        by_number = grown_counts(before, earlier, now, here)
        if by_number is None:
            return None
        grown = list(by_number.values())
    if sum(grown) > most:
        raise invalid("it has more samples than probes can be sent")
    return b"".join([_BYTES[number] * count for number, count in zip(numbers, grown, strict=True) if count])


def _health(before: AgentCounts, now: AgentCounts, sent: int) -> Health:
    """Return what the agent says of itself; nothing if it began to count again. `sent` is of the nodes alone."""
    skipped = now.skipped - before.skipped
    if not 0 <= skipped <= MOST_DUE:
        return Health(0)
    by_number = grown_counts(before.lag, 0, now.lag, 0) if before.lag and now.lag else None
    if by_number is None or sum(by_number.values()) > MOST_DUE:
        return Health(min(sent, MOST_DUE), skipped)
    buckets = [0] * layout.BUCKETS
    for number, count in by_number.items():
        buckets[number] = count
    return Health(sum(buckets), skipped, Histogram(tuple(buckets), 0))
