"""What static discovery tells about itself."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge


class Reason(StrEnum):
    """Why the peers file was of no use: it could not be read, or what it says is wrong."""

    READ = "read"
    PARSE = "parse"


class StaticMetrics:
    """The `monlat_discovery_*` series, in `registry`; names shared with other discoveries have their help texts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.up = Gauge(
            "monlat_discovery_up",
            "1 while the source of the list of peers can be read, 0 while the last good list stands in.",
            registry=registry,
        )
        self.reloads = Counter(
            "monlat_discovery_reloads_total",
            "Times that a changed peers file was read and was good.",
            registry=registry,
        )
        self.last_change = Gauge(
            "monlat_discovery_last_change_timestamp_seconds",
            "When the list of peers last changed, in seconds since 1970.",
            registry=registry,
        )
        self.errors = Counter(
            "monlat_discovery_errors_total",
            "Failures to read the list of peers, or an entry of it, by reason.",
            labelnames=("reason",),
            registry=registry,
        )
        for reason in Reason:
            self.errors.labels(reason=reason)
