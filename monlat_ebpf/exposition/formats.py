"""The formats of /metrics. To add one, write an Encoder for it (encoding.py) and add it to this list."""

from __future__ import annotations

from monlat_ebpf.exposition.detail import Details
from monlat_ebpf.exposition.negotiation import Format
from monlat_ebpf.exposition.protobuf import CONTENT_TYPE, ProtobufEncoder
from monlat_ebpf.exposition.scrape import Exposition
from monlat_ebpf.exposition.self_metrics import SelfMetrics
from monlat_ebpf.exposition.text import CLASSIC_TYPE, OPENMETRICS_TYPE, TextEncoder


def formats(self_metrics: SelfMetrics, details: Details, *, has_classic: bool = False) -> tuple[Format, ...]:
    """Return all formats. The first is for a scraper that does not say what it reads, such as curl.

    With `has_classic`, histograms in protobuf are classic as well as native.

    They share `details`, so that the same pairs are the worst in each.
    """
    classic = Exposition(lambda: TextEncoder(is_openmetrics=False), self_metrics.text, details)
    openmetrics = Exposition(lambda: TextEncoder(is_openmetrics=True), self_metrics.openmetrics, details)
    protobuf = Exposition(lambda: ProtobufEncoder(has_classic=has_classic), self_metrics.protobuf, details)
    return (
        Format(CLASSIC_TYPE, classic.render),
        Format(OPENMETRICS_TYPE, openmetrics.render),
        Format(CONTENT_TYPE, protobuf.render),
    )
