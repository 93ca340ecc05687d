"""The peers that are probed, out of those that discovery found and those of a targets file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from prometheus_client import CollectorRegistry

from monlat_ebpf.config import PeerChoice
from monlat_ebpf.discovery import Publish
from monlat_ebpf.discovery.coverage import Chooser, Coverage
from monlat_ebpf.discovery.metrics import CoverageMetrics, PeerSetMetrics
from monlat_ebpf.model import Peer

_LOG = logging.getLogger(__name__)


class PeerSet:
    """Publishes all targets, and with them as many nodes as `choice` says and `max_peers` leaves; says what is missing.

    `own_zone` returns the zone of the node `node_name` as its peers know it, "" if they know none.
    One node at least is probed if one is listed: of too many targets, the first in the file are.
    """

    def __init__(
        self,
        publish: Publish,
        *,
        node_name: str,
        own_zone: Callable[[], str],
        choice: int | PeerChoice,
        max_peers: int,
        registry: CollectorRegistry,
    ) -> None:
        self._publish = publish
        self._node_name = node_name
        self._own_zone = own_zone
        self._max_peers = max_peers
        self._chooser = Chooser(node_name, choice)
        self._metrics = PeerSetMetrics(registry)
        self._coverage_metrics = CoverageMetrics(registry)
        self._lock = threading.Lock()  # nodes and targets come from two threads
        self._nodes: Sequence[Peer] | None = None
        self._targets: Sequence[Peer] = ()
        self._warnings: Sequence[str] = ()
        self._coverage: Coverage | None = None
        self._is_over_limit = False

    @property
    def knows_nodes(self) -> bool:
        """Whether discovery has found its first list."""
        return self._nodes is not None

    def set_nodes(self, nodes: Sequence[Peer]) -> None:
        """Publish these nodes from now on."""
        with self._lock:
            self._nodes = nodes
            self._update()

    def set_targets(self, targets: Sequence[Peer]) -> None:
        """Publish these targets from now on."""
        with self._lock:
            self._targets = targets
            self._update()

    def _update(self) -> None:
        nodes = self._nodes or ()
        listed, warnings = beside(self._targets, nodes)
        for warning in warnings:
            if warning not in self._warnings:
                _LOG.warning("%s", warning)
        self._warnings = warnings
        targets = listed[: self._max_peers - 1]
        zones = {node.name: node.zone for node in nodes} | {self._node_name: self._own_zone()}
        coverage = self._chooser.update(zones, self._max_peers - len(targets))
        self._metrics.listed.set(len(nodes) + len(listed))
        if self._nodes is not None:
            self._coverage_metrics.show(coverage, self._coverage)
            self._report_part(coverage)
            self._coverage = coverage
        self._report_limit(coverage.wanted + len(listed), len(coverage.peers) + len(targets))
        self._publish([*(node for node in nodes if node.name in coverage.peers), *targets])

    def _report_part(self, coverage: Coverage) -> None:
        """Say when this node begins to probe a part of the nodes on purpose, and when it probes all again."""
        was_part = self._coverage is not None and self._coverage.wanted < self._coverage.nodes - 1
        is_part = coverage.wanted < coverage.nodes - 1
        if is_part and not was_part:
            _LOG.info(
                "of %d nodes, each probes some: this one %d, as --probe-neighbours says",
                coverage.nodes,
                coverage.wanted,
            )
        elif was_part and not is_part:
            _LOG.info("each of %d nodes probes all others again", coverage.nodes)

    def _report_limit(self, wanted: int, probed: int) -> None:
        missing = max(0, wanted - probed)
        self._metrics.over_limit.set(missing)
        if missing and not self._is_over_limit:
            _LOG.warning(
                "%d peers are to be probed, and --max-peers (MONLAT_MAX_PEERS) allows %d: %d are probed, of the nodes "
                "those that probe this node, too. Raise it on all nodes",
                wanted,
                self._max_peers,
                probed,
            )
        elif self._is_over_limit and not missing:
            _LOG.info("all %d peers are probed again", wanted)
        self._is_over_limit = missing > 0


def beside(targets: Sequence[Peer], nodes: Sequence[Peer]) -> tuple[list[Peer], list[str]]:
    """Return the targets without names and addresses of nodes, and a warning for each of these. Pure."""
    names = {node.name for node in nodes}
    owners = {address: node.name for node in nodes for address in node.addresses}
    kept, warnings = [], []
    for target in targets:
        if target.name in names:
            warnings.append(f"target {target.name} is also the name of a node: only the node is probed")
            continue
        warnings += [
            f"{address} of the target {target.name} belongs to the node {owners[address]}: probed for the node only"
            for address in target.addresses
            if address in owners
        ]
        addresses = tuple(address for address in target.addresses if address not in owners)
        if addresses:
            kept.append(replace(target, addresses=addresses))
    return kept, warnings
