"""The peers that are probed, out of those that discovery found."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from monlat_ebpf.discovery import Publish
from monlat_ebpf.discovery.metrics import PeerSetMetrics
from monlat_ebpf.discovery.ring import choose
from monlat_ebpf.model import Peer

_LOG = logging.getLogger(__name__)


class PeerSet:
    """Publishes at most `max_peers` of the nodes that discovery finds, and says when these are not all."""

    def __init__(self, publish: Publish, *, node_name: str, max_peers: int, registry: CollectorRegistry) -> None:
        self._publish = publish
        self._node_name = node_name
        self._max_peers = max_peers
        self._metrics = PeerSetMetrics(registry)
        self._is_over_limit = False

    def set_nodes(self, nodes: Sequence[Peer]) -> None:
        """Publish these nodes, or those of them that `monlat_ebpf.discovery.ring` chooses."""
        chosen = choose((node.name for node in nodes), self._node_name, self._max_peers)
        peers = [node for node in nodes if node.name in chosen]
        self._metrics.listed.set(len(nodes))
        self._metrics.over_limit.set(len(nodes) - len(peers))
        is_over_limit = len(peers) < len(nodes)
        if is_over_limit and not self._is_over_limit:
            _LOG.warning(
                "%d other nodes are listed, and --max-peers (MONLAT_MAX_PEERS) allows %d: %d are probed, chosen by "
                "name so that they probe this node, too. Raise it on all nodes",
                len(nodes),
                self._max_peers,
                len(peers),
            )
        elif self._is_over_limit and not is_over_limit:
            _LOG.info("all %d listed nodes are probed again", len(nodes))
        self._is_over_limit = is_over_limit
        self._publish(peers)
