"""Where the histograms of a pair are in the memory that was read."""

from __future__ import annotations

from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.histogram import Filled, filled
from monlat_ebpf.model import HistogramKind, PairReading

_RTT_AT: Final = layout.TARGET.offset("rtt")
_AT: Final = {
    HistogramKind.NETWORK: layout.SESSION.offset("network_rtt"),
    HistogramKind.DWELL: layout.SESSION.offset("dwell"),
}


def histogram_of(pair: PairReading, kind: HistogramKind) -> Filled | None:
    """Return a histogram of `pair`, None if the source cannot see what it would count."""
    if kind is HistogramKind.RTT:
        return filled(pair.counts, _RTT_AT)
    return None if pair.session is None else filled(pair.session, _AT[kind])
