"""Of which pairs a scrape shows the details: all, the worst ones, or sums by zone instead. All formats share it.

Details are a pair's histograms, its clock offset, its queueing and its interface. The gauge latency_between_nodes, the
counters and monlat_peer_info are of every pair, whatever is chosen here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from monlat_ebpf.abi.histogram import Filled
from monlat_ebpf.exposition import families
from monlat_ebpf.exposition.families import MetricFamily
from monlat_ebpf.exposition.pair_families import HISTOGRAMS
from monlat_ebpf.exposition.worst_pairs import WorstPairs
from monlat_ebpf.exposition.zone_totals import ZoneTotals
from monlat_ebpf.model import EVERYTHING, Detail, HistogramKind, PairReading, Shown

ZONE_FAMILIES: Final = {
    HistogramKind.RTT: families.ZONE_RTT,
    HistogramKind.NETWORK: families.ZONE_NETWORK_RTT,
    HistogramKind.DWELL: families.ZONE_DWELL,
}
_ALL_HISTOGRAMS: Final = frozenset((*HISTOGRAMS.values(), *ZONE_FAMILIES.values()))


class Details:
    """Chooses; remembers of earlier scrapes what `--worst` and `--detail zone` need, nothing for other settings.

    Only the thread that renders uses it. `clock` returns seconds that only grow.
    """

    def __init__(
        self, shown: Shown = EVERYTHING, timeout_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._is_all = shown.detail is Detail.PEER
        self._worst = WorstPairs(shown.worst, timeout_seconds, clock) if shown.worst and not self._is_all else None
        self._zones = ZoneTotals(shown.histograms) if shown.detail is Detail.ZONE else None
        self.histograms: Final = shown.histograms
        wanted = {HISTOGRAMS[kind] for kind in shown.histograms if self._is_all or self._worst}
        if self._zones:
            wanted |= {ZONE_FAMILIES[kind] for kind in shown.histograms}
        self.families: Final = tuple(each for each in families.ALL if each not in _ALL_HISTOGRAMS or each in wanted)
        """The families of a scrape, in their order."""

    def begin(self) -> None:
        """Begin a scrape."""
        if self._zones:
            self._zones.begin()
        if self._worst:
            self._worst.begin()

    def of(self, pairs: Sequence[PairReading]) -> Sequence[bool]:
        """Return for each of the next pairs of a scrape whether its details are shown."""
        if self._zones:
            self._zones.add(pairs)
        if self._worst:
            return self._worst.note(pairs)
        return [self._is_all] * len(pairs)

    def end(self) -> None:
        """End a scrape: all pairs have been given to `of`."""
        if self._zones:
            self._zones.end()
        if self._worst:
            self._worst.end()

    def zone_histograms(self) -> Iterator[tuple[MetricFamily, str, str, Filled]]:
        """Yield the sums by zone: family of metrics, the peers' zone, family of addresses, histogram."""
        if self._zones:
            for kind in self.histograms:
                for to_zone, address_family, histogram in self._zones.histograms(kind):
                    yield ZONE_FAMILIES[kind], to_zone, address_family, histogram
