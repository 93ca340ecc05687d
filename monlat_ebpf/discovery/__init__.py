"""Discovery: finds the peers, in a file or through the Kubernetes API, and follows changes.

static            peers or targets from a file, polled for changes
peers_file        the grammar of the peers file: pure
kubernetes        peers from EndpointSlices: list, watch, back-off
kubernetes_api    the list and watch requests; imports the `kubernetes` library
kubernetes_login  credentials, from a kubeconfig or a pod's service account
endpointslices    EndpointSlices to peers: pure
departures        peers that left a short time ago: pure
slice_store       the newest version of each slice, whatever order events come in: pure
list_body         bytes of a list, compressed or not, to its text: pure
watch_events      bytes of a watch to events: pure
api_errors        reasons of failures
backoff           how long to wait before the next request: pure
peer_set          the peers that are probed, out of those found and of a targets file
coverage          which of the nodes this one probes, and what that covers: pure
graph             which nodes probe each other, if not all: pure
rings             orders of the nodes, for that: pure
zone_pairs        pairs of nodes between every two zones: pure
publisher         publishes a burst of changes as one
sockets           aborts requests from another thread
metrics           the monlat_discovery_* and monlat_coverage_* series

A discovery runs in its own thread and calls `publish` with the whole list whenever the list changes. It never
publishes a list that it knows to be wrong: the last good list stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from monlat_ebpf.model import Address, Peer

Publish = Callable[[Sequence[Peer]], None]


class Discovery(Protocol):
    """Finds peers, and follows changes."""

    @property
    def own_zone(self) -> str:
        """This node's zone; "" while it is unknown."""

    @property
    def own_addresses(self) -> Sequence[Address]:
        """The addresses by which the peers know this node, at most one of a family; empty while they are unknown."""

    def start(self, publish: Publish) -> None:
        """Publish the first list, then follow changes in a thread.

        Raises ConfigError when the configuration is unusable.
        """

    def stop(self) -> None:
        """Stop the thread and wait for its end."""
