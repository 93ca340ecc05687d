"""The RTTs of the last minutes of one agent's pairs, from the kernel's histograms. Pure.

An agent counts since its start. As in `loss`, two older states are kept, and the older of these is what the present is
compared with.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final, NamedTuple

from monlat_ebpf.collector.counts import AgentCounts, Buckets
from monlat_ebpf.collector.growth import grown_counts
from monlat_ebpf.model import HistogramKind

WINDOW_SECONDS: Final = 300.0
"""A state is replaced after so long: what is shown covers between five and ten minutes, once the collector runs so
long."""


class Recent(NamedTuple):
    """The RTTs of a pair: `counts` by bucket, of the last `seconds`."""

    counts: Counter[int]
    seconds: float


class RecentCounts:
    """The counts of one agent, now and before."""

    def __init__(self) -> None:
        self._states: list[tuple[float, AgentCounts]] = []  # at most three: the base, the next base, and now

    def update(self, now: float, counts: AgentCounts) -> None:
        """Take an answer; an agent that counts again from the begin has no past, one without histograms nothing."""
        if HistogramKind.RTT not in counts.histograms:
            return
        if self._states and counts.is_restarted(self._states[-1][1]):
            self._states = []
        rtts: dict[HistogramKind, Buckets] = {HistogramKind.RTT: counts.histograms[HistogramKind.RTT]}
        counts = replace(counts, counters=(), histograms=rtts, lag=None)  # the rest need not be kept for minutes
        if len(self._states) < 3 or now - self._states[1][0] >= WINDOW_SECONDS:
            self._states = [*self._states[-2:], (now, counts)]
        else:
            self._states[2] = (now, counts)

    def rtts(self, to: str) -> Recent | None:
        """Return the RTTs of the pair to node `to`, over all address families; None if there are no histograms."""
        if len(self._states) < 2:
            return None
        (began, before), (ended, now) = self._states[0], self._states[-1]
        histograms, base = now.histograms[HistogramKind.RTT], before.histograms[HistogramKind.RTT]
        there = {key: position for position, key in enumerate(before.pairs)}
        total: Counter[int] = Counter()
        for here, key in enumerate(now.pairs):
            if key[0] == to:
                earlier = there.get(key)
                grown = grown_counts(None if earlier is None else base, earlier or 0, histograms, here)
                # a count that fell: the pair was made anew, and all that it has now is of these minutes
                total.update(grown if grown is not None else grown_counts(None, 0, histograms, here))
        return Recent(+total, ended - began)
