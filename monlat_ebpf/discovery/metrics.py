"""The `monlat_discovery_*` and `monlat_coverage_*` series, and `monlat_targets_*` of a targets file."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from monlat_ebpf.discovery.coverage import Coverage


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the series about one source of peers."""

    up: str
    last_change: str
    errors: str
    reloads: str


PEERS: Final = Names(
    up="monlat_discovery_up",
    last_change="monlat_discovery_last_change_timestamp_seconds",
    errors="monlat_discovery_errors_total",
    reloads="monlat_discovery_reloads_total",
)
TARGETS: Final = Names(
    up="monlat_targets_up",
    last_change="monlat_targets_last_change_timestamp_seconds",
    errors="monlat_targets_errors_total",
    reloads="monlat_targets_reloads_total",
)


class DiscoveryMetrics:
    """The series of every discovery, in `registry`. `reasons` are the values of the label `reason` of the errors."""

    def __init__(self, registry: CollectorRegistry, reasons: Iterable[str], names: Names = PEERS) -> None:
        self.up = Gauge(
            names.up,
            "1 while the source of the list of peers can be read, 0 while the last good list is used.",
            registry=registry,
        )
        self.last_change = Gauge(
            names.last_change,
            "When the list of peers last changed, in seconds since 1970.",
            registry=registry,
        )
        self._errors = Counter(
            names.errors,
            "Failures to read the list of peers, or an entry of it, by reason.",
            labelnames=("reason",),
            registry=registry,
        )
        for reason in reasons:
            self._errors.labels(reason=reason)

    def count_error(self, reason: str) -> None:
        """Count one failure."""
        self._errors.labels(reason=reason).inc()


class PeerSetMetrics:
    """How many peers are listed, and how many of these are too many."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.listed = Gauge(
            "monlat_discovery_peers_listed", "Peers in the list, whether they are probed or not.", registry=registry
        )
        self.over_limit = Gauge(
            "monlat_discovery_peers_over_limit",
            "Peers that this node should probe and does not, because --max-peers allows no more.",
            registry=registry,
        )


class CoverageMetrics:
    """The `monlat_coverage_*` series: what part of all pairs is probed, as this node knows it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, registry=registry)

        self._nodes = gauge("monlat_coverage_nodes", "Nodes in the list, this one included.")
        self._peers = gauge("monlat_coverage_peers", "Nodes that this node probes, and that probe it.")
        self._wanted_peers = gauge(
            "monlat_coverage_wanted_peers",
            "Nodes that this node would probe by --probe-neighbours without the limit of --max-peers.",
        )
        self._unprobed_nodes = gauge("monlat_coverage_unprobed_nodes", "Nodes in the list that no node probes.")
        self._zone_pairs = gauge("monlat_coverage_zone_pairs", "Pairs of zones in the list.")
        self._own_zone_pairs = gauge("monlat_coverage_own_zone_pairs", "Pairs of this node's zone and another.")
        self._own_zone_pairs_probed = gauge(
            "monlat_coverage_own_zone_pairs_probed",
            "Pairs of this node's zone and another between which this node knows of a pair of nodes that is probed.",
        )
        changes = Counter(
            "monlat_coverage_peer_changes_total",
            "Nodes that this node began or ceased to probe because a list changed.",
            labelnames=("change",),
            registry=registry,
        )
        self._added, self._removed = changes.labels(change="added"), changes.labels(change="removed")

    def show(self, coverage: Coverage, before: Coverage | None) -> None:
        """Show `coverage`, which comes after `before`. The first list is no change."""
        self._nodes.set(coverage.nodes)
        self._peers.set(len(coverage.peers))
        self._wanted_peers.set(coverage.wanted)
        self._unprobed_nodes.set(coverage.unprobed_nodes)
        self._zone_pairs.set(coverage.zone_pairs)
        self._own_zone_pairs.set(coverage.own_zone_pairs)
        self._own_zone_pairs_probed.set(coverage.own_zone_pairs_probed)
        if before is not None:
            self._added.inc(len(coverage.peers - before.peers))
            self._removed.inc(len(before.peers - coverage.peers))


class StaticMetrics(DiscoveryMetrics):
    """The series of a file."""

    def __init__(self, registry: CollectorRegistry, reasons: Iterable[str], names: Names = PEERS) -> None:
        super().__init__(registry, reasons, names)
        self.reloads = Counter(
            names.reloads,
            "Times that a changed file was read and was valid.",
            registry=registry,
        )


class KubernetesMetrics(DiscoveryMetrics):
    """The series of Kubernetes discovery."""

    def __init__(self, registry: CollectorRegistry, reasons: Iterable[str]) -> None:
        super().__init__(registry, reasons)
        self.relists = Counter(
            "monlat_discovery_relists_total",
            "Times that all EndpointSlices were listed again because the watch could not be resumed.",
            registry=registry,
        )
        self._last_event = time.monotonic()
        Gauge(
            "monlat_discovery_last_event_age_seconds",
            "Time since the API server last sent a list, a change or a bookmark.",
            registry=registry,
        ).set_function(lambda: time.monotonic() - self._last_event)

    def event_received(self) -> None:
        """Restart the age of the last event at zero."""
        self._last_event = time.monotonic()
