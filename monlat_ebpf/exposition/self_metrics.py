"""What the agent tells about itself: delays of its own making, its build, its process.

These have no labels, or few, and change by single observations, so prometheus-client keeps and prints them,
in a registry of this object's own.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import monlat_ebpf
from monlat_ebpf.abi.histogram import OCTAVE_EDGES

SCHEDULE_LAG_BUCKETS: Final = tuple(edge for edge in OCTAVE_EDGES if edge > 5e-6)
"""7.6 us to 8 s: no timer of the kernel wakes a thread more punctually."""


class SelfMetrics:
    """The agent's own metrics. Others may register theirs in `registry`.

    `schedule_lag` observes seconds; `http_errors` counts by `kind`, a name of an exception.
    """

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no annotation
        self.registry = CollectorRegistry()
        self.schedule_lag = Histogram(
            "monlat_schedule_lag_seconds",
            "How late probes were sent, against their schedule.",
            buckets=SCHEDULE_LAG_BUCKETS,
            registry=self.registry,
        )
        self.http_errors = Counter(
            "monlat_http_errors_total",
            "Requests that the agent failed to answer, by exception.",
            labelnames=("kind",),
            registry=self.registry,
        )
        self._capability = Gauge(
            "monlat_held_capability",
            "1 for each capability that the agent holds while it probes.",
            labelnames=("capability",),
            registry=self.registry,
        )
        build = Info("monlat_build", "Always 1: the agent's version and what it runs on.", registry=self.registry)
        build.info(
            {
                "version": monlat_ebpf.__version__,
                "python": platform.python_version(),
                "kernel": os.uname().release,
            }
        )
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.PlatformCollector(registry=self.registry)
        prometheus_client.GCCollector(registry=self.registry)

    def count_http_error(self, kind: str) -> None:
        """Count a request that failed with the exception of that name."""
        self.http_errors.labels(kind=kind).inc()

    def show_capabilities(self, names: Iterable[str]) -> None:
        """Show which capabilities the agent holds."""
        for name in names:
            self._capability.labels(capability=name).set(1)

    def show_source_errors(self, trouble: Callable[[], Mapping[str, int]]) -> None:
        """Show what goes wrong in the source of time stamps, by reason, as `trouble` tells it at each scrape."""
        self.registry.register(_SourceErrors(trouble))

    def render(self) -> bytes:
        """Return all of `registry` in the text format 0.0.4."""
        return prometheus_client.generate_latest(self.registry)


class _SourceErrors(Collector):
    """Counts that another keeps."""

    def __init__(self, trouble: Callable[[], Mapping[str, int]]) -> None:
        self._trouble = trouble

    def collect(self) -> Iterator[Metric]:
        """Yield them as they are now."""
        family = CounterMetricFamily(
            "monlat_source_errors", "What went wrong in the source of time stamps, by reason.", labels=["reason"]
        )
        for reason, count in sorted(self._trouble().items()):
            family.add_metric([reason], count)
        yield family
