"""The peers that are probed, out of those that discovery found and those of a targets file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace

from prometheus_client import CollectorRegistry

from monlat_ebpf.discovery import Publish
from monlat_ebpf.discovery.metrics import PeerSetMetrics
from monlat_ebpf.discovery.ring import choose
from monlat_ebpf.model import Peer

_LOG = logging.getLogger(__name__)


class PeerSet:
    """Publishes all targets, and with them as many nodes as `max_peers` leaves; says when these are not all.

    One node at least is probed if one is listed: of too many targets, the first in the file are.
    """

    def __init__(self, publish: Publish, *, node_name: str, max_peers: int, registry: CollectorRegistry) -> None:
        self._publish = publish
        self._node_name = node_name
        self._max_peers = max_peers
        self._metrics = PeerSetMetrics(registry)
        self._lock = threading.Lock()  # nodes and targets come from two threads
        self._nodes: Sequence[Peer] | None = None
        self._targets: Sequence[Peer] = ()
        self._warnings: Sequence[str] = ()
        self._is_over_limit = False

    @property
    def knows_nodes(self) -> bool:
        """Whether discovery has found its first list."""
        return self._nodes is not None

    def set_nodes(self, nodes: Sequence[Peer]) -> None:
        """Publish these nodes from now on."""
        with self._lock:
            self._nodes = nodes
            self._update(nodes)

    def set_targets(self, targets: Sequence[Peer]) -> None:
        """Publish these targets from now on."""
        with self._lock:
            self._targets = targets
            self._update(self._nodes or ())

    def _update(self, nodes: Sequence[Peer]) -> None:
        listed, warnings = beside(self._targets, nodes)
        for warning in warnings:
            if warning not in self._warnings:
                _LOG.warning("%s", warning)
        self._warnings = warnings
        targets = listed[: self._max_peers - 1]
        chosen = choose((node.name for node in nodes), self._node_name, self._max_peers - len(targets))
        peers = [*(node for node in nodes if node.name in chosen), *targets]
        self._report(len(nodes) + len(listed), len(peers))
        self._publish(peers)

    def _report(self, listed: int, probed: int) -> None:
        self._metrics.listed.set(listed)
        self._metrics.over_limit.set(listed - probed)
        is_over_limit = probed < listed
        if is_over_limit and not self._is_over_limit:
            _LOG.warning(
                "%d peers are listed, and --max-peers (MONLAT_MAX_PEERS) allows %d: %d are probed, of the nodes those "
                "that probe this node, too. Raise it on all nodes",
                listed,
                self._max_peers,
                probed,
            )
        elif self._is_over_limit and not is_over_limit:
            _LOG.info("all %d listed peers are probed again", listed)
        self._is_over_limit = is_over_limit


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
