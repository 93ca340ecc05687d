"""Histograms of all pairs to a zone together.

A sum over the pairs that are there would fall when a peer leaves, which Prometheus takes for a restart: the rate after
it would be that of all samples since the start. So what a scrape finds new in each pair is added to totals that never
fall. That needs the buckets that the last scrape found in each pair: 0.8 KB a pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.histogram import NOTHING, Filled, filled_from
from monlat_ebpf.exposition.pair_histograms import histogram_of
from monlat_ebpf.model import Family, HistogramKind, PairReading

_Zone = tuple[str, Family]
_Pair = tuple[str, Family]
_Memory = tuple[int, bytes, int]
"""A Filled in less memory: its counts as numbers of 32 bits, as the kernel program has them."""


class _Total:
    """A sum of histograms."""

    def __init__(self) -> None:
        self.buckets = [0] * layout.BUCKETS
        self.sum_ns = 0

    def add(self, histogram: Filled, sign: int) -> None:
        for bucket, count in enumerate(histogram.counts, histogram.first):
            self.buckets[bucket] += sign * count
        self.sum_ns += sign * histogram.sum_ns


class ZoneTotals:
    """Keeps the totals, and what each pair had at the last scrape. One thread uses it."""

    def __init__(self, kinds: Sequence[HistogramKind]) -> None:
        self._kinds = tuple(kinds)
        self._totals: dict[HistogramKind, dict[_Zone, _Total]] = {kind: {} for kind in kinds}
        self._known: dict[_Pair, tuple[int, list[_Memory]]] = {}  # since when a pair counts, and its histograms
        self._seen: set[_Pair] = set()

    def begin(self) -> None:
        """Begin a scrape; the one before may have been given up."""
        self._seen.clear()

    def add(self, pairs: Sequence[PairReading]) -> None:
        """Add what is new in the next pairs of the scrape."""
        for pair in pairs:
            key = (pair.to, pair.family)
            created_seconds, before = self._known.get(key, (0, []))
            if created_seconds != pair.created_unix_seconds:
                before = []  # it was away: its counts began at 0
            now = []
            for position, kind in enumerate(self._kinds):
                histogram = histogram_of(pair, kind) or NOTHING
                total = self._totals[kind].setdefault((pair.to_zone, pair.family), _Total())
                total.add(histogram, 1)
                if before and before[position][2] <= histogram.sum_ns:  # else it was away within that second
                    total.add(_unpacked(before[position]), -1)
                now.append(_packed(histogram))
            self._known[key] = (pair.created_unix_seconds, now)
            self._seen.add(key)

    def end(self) -> None:
        """End the scrape, and forget the pairs that were not in it."""
        self._known = {key: known for key, known in self._known.items() if key in self._seen}

    def histograms(self, kind: HistogramKind) -> Iterator[tuple[str, Family, Filled]]:
        """Yield the totals of a kind: the peers' zone, family of addresses, histogram."""
        for (zone, family), total in sorted(self._totals[kind].items()):
            yield zone, family, filled_from(total.buckets, total.sum_ns)


def _packed(histogram: Filled) -> _Memory:
    return histogram.first, b"".join([count.to_bytes(4, "little") for count in histogram.counts]), histogram.sum_ns


def _unpacked(memory: _Memory) -> Filled:
    first, counts, sum_ns = memory
    return Filled(first, tuple(memoryview(counts).cast("I")), sum_ns)
