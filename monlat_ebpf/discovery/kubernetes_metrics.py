"""What Kubernetes discovery tells about itself."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge

from monlat_ebpf.discovery.api_errors import Reason


class KubernetesMetrics:
    """The `monlat_discovery_*` series, in `registry`; names shared with other discoveries have their help texts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.up = Gauge(
            "monlat_discovery_up",
            "1 while the source of the list of peers can be read, 0 while the last good list stands in.",
            registry=registry,
        )
        self.relists = Counter(
            "monlat_discovery_relists_total",
            "Times that all EndpointSlices were read anew because the watch could not be resumed.",
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
        self._heard = time.monotonic()
        Gauge(
            "monlat_discovery_last_event_age_seconds",
            "Time since the API server last told something: a list, a change or a bookmark.",
            registry=registry,
        ).set_function(lambda: time.monotonic() - self._heard)

    def count(self, reason: Reason) -> None:
        """Count one failure."""
        self.errors.labels(reason=reason).inc()

    def reception_report(self) -> None:
        """Note that the API server told something just now."""
        self._heard = time.monotonic()
