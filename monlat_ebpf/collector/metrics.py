"""The text of `/metrics`: the latency of every ordered pair, and the collector's own series."""

from __future__ import annotations

import platform
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import monlat_ebpf
from monlat_ebpf.collector.answer import MEASURED
from monlat_ebpf.collector.diagnosing import Decision
from monlat_ebpf.collector.fetch import Failure
from monlat_ebpf.collector.pair import STATES
from monlat_ebpf.collector.store import NodeView, Store, state_of
from monlat_ebpf.diagnosis.hysteresis import State
from monlat_ebpf.diagnosis.text import title_of
from monlat_ebpf.exposition.chunks import in_chunks
from monlat_ebpf.exposition.families import LATENCY_BETWEEN_NODES
from monlat_ebpf.exposition.text import label_text

_ASK_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)  # seconds
_DECISION_BUCKETS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # seconds


def render_latencies(nodes: Sequence[NodeView]) -> Iterator[bytes]:
    """Yield `latency_between_nodes` of the measured pairs, in milliseconds, in chunks."""
    return in_chunks(_latency_lines(nodes))


def _latency_lines(nodes: Sequence[NodeView]) -> Iterator[bytes]:
    family = LATENCY_BETWEEN_NODES
    yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n".encode()
    targets = {node.name: label_text([("to", node.name)]) for node in nodes}
    for node in nodes:
        if node.row is None:
            continue
        source = label_text([("from", node.name)])
        for position, (to, rtt) in enumerate(zip(node.row.to, node.row.values["rtt"], strict=True)):
            if to in targets and state_of(node, position) == MEASURED:
                milliseconds = round(rtt * 1e9) / 1e6  # the agent counts in whole nanoseconds
                yield b"latency_between_nodes{%b,%b} %r\n" % (source, targets[to], milliseconds)


class CollectorMetrics:
    """The collector's own series. Others may register theirs in `registry`."""

    def __init__(self, store: Store, decision: Callable[[], Decision] = Decision) -> None:
        """Show what is in `store`, and the last decision."""
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no annotation
        self.registry = CollectorRegistry()
        self._asked = Counter(
            "monlat_collector_asks_total", "Questions to agents that have ended.", registry=self.registry
        )
        self._failures = Counter(
            "monlat_collector_ask_failures_total",
            "Questions to agents without a usable answer, by reason.",
            labelnames=("reason",),
            registry=self.registry,
        )
        for failure in Failure:
            self._failures.labels(reason=failure.value)
        self._seconds = Histogram(
            "monlat_collector_ask_seconds",
            "Time from a question to an agent until its answer was checked, or failed.",
            buckets=_ASK_BUCKETS,
            registry=self.registry,
        )
        self._windows = Counter(
            "monlat_diagnosis_windows_total",
            "Windows that were diagnosed: while it stands still, no diagnosis means nothing.",
            registry=self.registry,
        )
        self._decision_seconds = Histogram(
            "monlat_diagnosis_seconds",
            "Time to decide what is broken, after a window was closed.",
            buckets=_DECISION_BUCKETS,
            registry=self.registry,
        )
        self._http_errors = Counter(
            "monlat_http_errors_total",
            "Requests that the collector failed to answer, by exception.",
            labelnames=("kind",),
            registry=self.registry,
        )
        build = Info("monlat_build", "Always 1: the collector's version and what it runs on.", registry=self.registry)
        build.info({"version": monlat_ebpf.__version__, "python": platform.python_version()})
        self.registry.register(_StoreCollector(store))
        self.registry.register(_DiagnosisCollector(decision))
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.PlatformCollector(registry=self.registry)
        prometheus_client.GCCollector(registry=self.registry)

    def count_ask(self, failure: Failure | None, seconds: float) -> None:
        """Count a question to an agent that took `seconds`."""
        self._asked.inc()
        self._seconds.observe(seconds)
        if failure is not None:
            self._failures.labels(reason=failure.value).inc()

    def count_window(self, seconds: float) -> None:
        """Count a window, and how long its decision took."""
        self._windows.inc()
        self._decision_seconds.observe(seconds)

    def count_http_error(self, kind: str) -> None:
        """Count a request that failed with the exception of that name."""
        self._http_errors.labels(kind=kind).inc()

    def show_web_config(self) -> Callable[[bool], None]:
        """Show whether the web configuration is in use; return the function that gets it."""
        return Gauge(
            "monlat_web_config_up",
            "1 while the files of --web-config are in use as they are, 0 while their last good content is.",
            registry=self.registry,
        ).set

    def render(self) -> bytes:
        """Return all of `registry` in the text format 0.0.4."""
        return prometheus_client.generate_latest(self.registry)


class _StoreCollector(Collector):
    """The series that are read from the store at each scrape."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """Yield the present values."""
        nodes = self._store.view()
        yield GaugeMetricFamily("monlat_collector_agents", "Agents in the list.", value=len(nodes))
        yield GaugeMetricFamily(
            "monlat_collector_agents_answering",
            "Agents whose last answer is not stale.",
            value=sum(not node.is_stale for node in nodes),
        )
        ages = GaugeMetricFamily(
            "monlat_collector_answer_age_seconds",
            "Age of an agent's last usable answer; absent before the first.",
            labels=["node"],
        )
        for node in nodes:
            if node.age_seconds is not None:
                ages.add_metric([node.name], node.age_seconds)
        yield ages
        pairs = GaugeMetricFamily(
            "monlat_collector_pairs",
            "Ordered pairs of nodes that agents have answered about, by state.",
            labels=["state"],
        )
        known = {node.name for node in nodes}
        counts = Counts(
            state_of(node, position)
            for node in nodes
            if node.row is not None
            for position, to in enumerate(node.row.to)
            if to in known
        )
        for state, name in STATES.items():
            pairs.add_metric([name], counts[state])
        yield pairs
        yield GaugeMetricFamily(
            "monlat_collector_history_bytes", "Memory of the history of all pairs.", value=self._store.history_size
        )


class _DiagnosisCollector(Collector):
    """The series of the last decision."""

    def __init__(self, decision: Callable[[], Decision]) -> None:
        self._decision = decision

    def collect(self) -> Iterator[Metric]:
        """Yield the present values."""
        decision = self._decision()
        family = GaugeMetricFamily(
            "monlat_diagnosis",
            "What is broken: the confidence in each diagnosis that is open or closing, from 0 to 1.",
            labels=["element", "kind", "state"],
        )
        confidences: dict[tuple[str, str, str], float] = {}
        for each in decision.diagnoses:
            if each.state is not State.SUSPECTED:
                finding = each.finding
                key = (title_of(finding), finding.element.kind.value, each.state.value)
                # undetermined ones may have the same title
                confidences[key] = max(confidences.get(key, 0.0), finding.confidence)
        for labels, confidence in confidences.items():
            family.add_metric(labels, confidence)
        yield family
        yield GaugeMetricFamily(
            "monlat_diagnosis_window_seconds", "How long a diagnosed window is.", value=decision.window_seconds
        )
