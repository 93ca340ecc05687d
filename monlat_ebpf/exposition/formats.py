"""The formats of /metrics. To add one, write an Encoder for it (encoding.py) and add it to this list."""

from __future__ import annotations

from monlat_ebpf.exposition.negotiation import Format
from monlat_ebpf.exposition.protobuf import CONTENT_TYPE, ProtobufEncoder
from monlat_ebpf.exposition.scrape import Exposition
from monlat_ebpf.exposition.self_metrics import SelfMetrics
from monlat_ebpf.exposition.text import CLASSIC_TYPE, OPENMETRICS_TYPE, TextEncoder


def formats(self_metrics: SelfMetrics) -> tuple[Format, ...]:
    """Return all formats; the first is for a scraper that does not say what it reads, such as curl."""
    classic = Exposition(lambda: TextEncoder(is_openmetrics=False), self_metrics.text)
    openmetrics = Exposition(lambda: TextEncoder(is_openmetrics=True), self_metrics.openmetrics)
    protobuf = Exposition(ProtobufEncoder, self_metrics.protobuf)
    return (
        Format(CLASSIC_TYPE, classic.render),
        Format(OPENMETRICS_TYPE, openmetrics.render),
        Format(CONTENT_TYPE, protobuf.render),
    )
