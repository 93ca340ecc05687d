"""The agent's metrics about itself: its delays, its build, its process.

They have few or no labels and change by single observations, so prometheus-client keeps and prints them.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Info
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

import monlat_ebpf
from monlat_ebpf.abi import layout
from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND, OCTAVE_EDGES, bucket_of, count_into
from monlat_ebpf.exposition import self_protobuf

SCHEDULE_LAG_BUCKETS: Final = tuple(edge for edge in OCTAVE_EDGES if edge > 5e-6)
"""7.6 us to 8 s: no kernel timer wakes a thread more precisely."""

_FIRST_BUCKETS: Final = (
    *(bucket_of(int(edge * NANOSECONDS_PER_SECOND)) + 1 - layout.BUCKETS_PER_OCTAVE for edge in SCHEDULE_LAG_BUCKETS),
    layout.BUCKETS - 1,
)
"""The first of the kernel's buckets in each of them, and the last one for +Inf."""


class SelfMetrics:
    """The agent's metrics about itself, in a registry of their own. Other modules may register theirs in `registry`.

    `schedule_lag` observes nanoseconds; `http_errors` counts by `kind`, the name of an exception.
    """

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no annotation
        self.registry = CollectorRegistry()
        self.schedule_lag = ScheduleLag()
        self.registry.register(self.schedule_lag)
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

    def show_web_config(self) -> Callable[[bool], None]:
        """Show whether the web configuration is in use; return the function that gets it."""
        gauge = Gauge(
            "monlat_web_config_up",
            "1 while the files of --web-config are in use as they are, 0 while their last good content is.",
            registry=self.registry,
        )
        return gauge.set

    def show_source_errors(self, errors: Callable[[], Mapping[str, int]]) -> None:
        """Show the errors of the timestamp source by reason; `errors` is called at each scrape."""
        self.registry.register(_SourceErrors(errors))

    def text(self) -> bytes:
        """Return all of `registry` in the text format 0.0.4."""
        return prometheus_client.generate_latest(self.registry)

    def openmetrics(self) -> bytes:
        """Return all of `registry` in the text format of OpenMetrics 1.0, with the end of the document."""
        from prometheus_client.openmetrics.exposition import generate_latest  # here: not every scraper asks for it

        document: bytes = generate_latest(self.registry)  # type: ignore[no-untyped-call]  # it has no annotation
        return document

    def protobuf(self) -> bytes:
        """Return all of `registry` in the protobuf format."""
        return self_protobuf.families(self.registry.collect())


class ScheduleLag(Collector):
    """The histogram of how late probes are sent. It is filled with each probe, so it costs half of the library's."""

    def __init__(self) -> None:
        self._edges_ns: Final = [round(edge * NANOSECONDS_PER_SECOND) for edge in SCHEDULE_LAG_BUCKETS]
        self._counts: Final = [0] * (len(SCHEDULE_LAG_BUCKETS) + 1)
        self._sum_ns = 0

    def observe(self, lags: Sequence[int]) -> None:
        """Count probes that were sent so many nanoseconds late."""
        count_into(self._counts, self._edges_ns, lags)
        self._sum_ns += sum(lags)

    def flat(self) -> list[int]:
        """Return the histogram as `exposition.buckets` writes it.

        An octave's samples are in its first bucket: none is said to be later than it was.
        """
        return [number for bucket in zip(_FIRST_BUCKETS, self._counts, strict=True) if bucket[1] for number in bucket]

    def collect(self) -> Iterator[Metric]:
        """Yield the histogram. Probes that are counted meanwhile are in it as a whole, or not at all in its buckets."""
        family = HistogramMetricFamily(
            "monlat_schedule_lag_seconds", "Time from the moment a probe was due until it was sent."
        )
        edges = [*map(floatToGoString, SCHEDULE_LAG_BUCKETS), "+Inf"]
        buckets = list(zip(edges, map(float, accumulate(self._counts)), strict=True))
        family.add_metric([], buckets, self._sum_ns / NANOSECONDS_PER_SECOND)
        yield family


class _SourceErrors(Collector):
    """Counters that the timestamp source keeps."""

    def __init__(self, errors: Callable[[], Mapping[str, int]]) -> None:
        self._errors = errors

    def collect(self) -> Iterator[Metric]:
        """Yield their present values."""
        family = CounterMetricFamily(
            "monlat_source_errors", "Errors in the source of time stamps, by reason.", labels=["reason"]
        )
        for reason, count in sorted(self._errors().items()):
            family.add_metric([reason], count)
        yield family
