"""Peers from the EndpointSlices of a headless Service: list them, then watch for changes."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from prometheus_client import CollectorRegistry

from monlat_ebpf.config import KubernetesConfig, Timing
from monlat_ebpf.discovery import Publish
from monlat_ebpf.discovery.api_errors import ApiError, Reason
from monlat_ebpf.discovery.backoff import Backoff, RateLimiter
from monlat_ebpf.discovery.departures import Departures
from monlat_ebpf.discovery.endpointslices import Malformed, membership_of
from monlat_ebpf.discovery.metrics import KubernetesMetrics
from monlat_ebpf.discovery.publisher import Current, Publisher
from monlat_ebpf.discovery.slice_store import SliceStore, version_of
from monlat_ebpf.discovery.watch_events import WatchEvent
from monlat_ebpf.model import Address, Peer

_STOP_SECONDS: Final = 0.9
"""Seconds that stop() waits. Only connecting can take longer, because another thread cannot abort that."""

_LOG = logging.getLogger(__name__)


class _Stopped(Exception):
    """stop() was called."""


class KubernetesDiscovery:
    """Publishes the nodes on which the Service has endpoints, without `node_name`, and again when they change.

    While the API server is unreachable or answers nonsense, the last known peers stay. A node that leaves the list
    stays for a minute (`monlat_ebpf.discovery.departures`). Implements `Discovery`.
    """

    def __init__(
        self,
        config: KubernetesConfig,
        *,
        node_name: str,
        registry: CollectorRegistry,
        timing: Timing | None = None,
    ) -> None:
        self._config = config
        self._node_name = node_name
        self._timing = timing = timing or Timing()
        self._metrics = KubernetesMetrics(registry, Reason)
        self._backoff = Backoff(
            base=timing.backoff_base,
            cap=timing.backoff_cap,
            outage_cap=timing.outage_cap,
            per_second=timing.retries_per_second,
        )
        self._agents = 0  # in the last list, this one included; 0 before it
        self._rate_limiter = RateLimiter(timing.requests_per_second, timing.burst)
        self._lock = threading.Lock()
        self._store = SliceStore()
        self._departures = Departures(timing.keep_seconds)
        self._own_zone = ""
        self._own_addresses: Sequence[Address] = ()
        self._warnings: Sequence[str] = ()
        self._version: str | None = None  # where the watch continues; None: list first
        self._opened_at = math.inf
        self._listed = False
        self._logged: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monlat-discovery", daemon=True)

    @property
    def own_zone(self) -> str:
        """This node's zone, from the endpoint of its own agent; "" while it is unknown."""
        return self._own_zone

    @property
    def own_addresses(self) -> Sequence[Address]:
        """This node's addresses, from the endpoints of its own agent; empty while they are unknown."""
        return self._own_addresses

    def start(self, publish: Publish) -> None:
        """Follow the Service in a thread, which publishes the first list as soon as the API server sends it.

        Raises ConfigError when there are no usable credentials, but not when the server is unreachable.
        """
        from monlat_ebpf.discovery.kubernetes_api import KubernetesApi

        self._api = KubernetesApi(self._config, self._timing)
        self._publish = publish
        self._publisher = Publisher(
            self._current_peers,
            self._publish_list,
            self._timing.debounce_seconds,
            count_error=lambda: self._metrics.count_error(Reason.INTERNAL),
        )
        self._publisher.start()
        self._thread.start()
        service = f"{self._api.namespace}/{self._config.service}"
        _LOG.info("following service %s at %s", service, self._api.host)

    def stop(self) -> None:
        """Stop the threads within a second. Nothing is published after this returns."""
        if self._thread.ident is None:
            return
        self._stopping.set()
        self._api.abort()
        self._publisher.stop()
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            _LOG.info("still connecting to %s: not waiting for it", self._api.host)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except _Stopped:
                break
            except ApiError as error:
                self._wait_after(error)
            except Exception as error:  # noqa: BLE001  # a defect must not end discovery
                _LOG.debug("unexpected", exc_info=True)
                self._wait_after(ApiError(Reason.INTERNAL, f"unexpected {error!r}", relist=True))
        self._api.close()

    def _follow(self) -> None:
        """List if necessary, then watch until the watch ends. Raises ApiError, also if the watch ends too early."""
        version = self._list() if self._version is None else self._version
        self._opened_at = math.inf
        try:
            self._watch(version)
        finally:
            healthy = time.monotonic() - self._opened_at >= self._timing.healthy_seconds
            if healthy:
                self._backoff.reset()
                self._logged.clear()
        if not healthy:
            raise ApiError(Reason.CLOSED, "the server ended the watch right after it began")

    def _list(self) -> str:
        """List all slices, and return the version at which a watch may begin."""
        listed = SliceStore()  # filled page by page: the JSON of 5,000 nodes is 10 MB
        continuation = ""
        while True:
            self._wait_for_turn()
            page = self._api.list_page(continuation)
            self._report_malformed(listed.put_all(page.items))
            continuation = page.continuation
            if not continuation:
                break
        with self._lock:
            self._store = listed
        if self._listed:
            self._metrics.relists.inc()
        self._listed = True
        self._version = page.version
        self._metrics.up.set(1)
        self._metrics.event_received()
        self._publisher.changed()
        return page.version

    def _watch(self, version: str) -> None:
        self._wait_for_turn()
        with closing(self._api.watch(version, opened=self._opened)) as events:
            for event in events:
                self._metrics.event_received()
                self._version = version_of(event.object.get("metadata")) or self._version
                self._apply(event)

    def _apply(self, event: WatchEvent) -> None:
        errors: list[Malformed] = []
        with self._lock:
            try:
                if event.kind in ("ADDED", "MODIFIED"):
                    errors = self._store.put(event.object)
                elif event.kind == "DELETED":
                    self._store.delete(event.object)
                else:
                    return
            except Malformed as error:
                errors = [error]
        self._report_malformed(errors)
        self._publisher.changed()

    def _opened(self) -> None:
        self._opened_at = time.monotonic()
        self._metrics.up.set(1)
        if self._logged:
            self._log_once("answers", logging.INFO, "the API server answers again")

    def _current_peers(self) -> Current:
        with self._lock:
            slices = self._store.slices()
        membership = membership_of(slices, self._node_name)
        own = Peer(self._node_name, membership.own_addresses, membership.own_zone)
        now = time.monotonic()
        # this node's own endpoint as well: its zone is a label of every pair
        nodes = {peer.name: peer for peer in self._departures.update((*membership.peers, own), now)}
        self._agents = len(nodes)
        own = nodes.pop(self._node_name)
        self._own_zone, self._own_addresses = own.zone or self._own_zone, own.addresses
        for warning in membership.warnings:
            if warning not in self._warnings:
                _LOG.warning("service %s: %s", self._config.service, warning)
        self._warnings = membership.warnings
        return Current(tuple(nodes.values()), self._departures.valid_seconds(now), self._own_zone)

    def _publish_list(self, peers: Sequence[Peer]) -> None:
        """Publish `peers` and say so. Runs in the publisher's thread."""
        self._publish(peers)
        self._metrics.last_change.set_to_current_time()
        _LOG.info("service %s: %d peers", self._config.service, len(peers))

    def _wait_for_turn(self) -> None:
        if self._stopping.wait(self._rate_limiter.take(time.monotonic())):
            raise _Stopped

    def _wait_after(self, error: ApiError) -> None:
        if self._stopping.is_set():
            return
        self._metrics.up.set(0)
        delay = self._backoff.next_delay(error.reason, self._agents, error.retry_after)
        if error.relist:
            self._version = None
        self._log_once(
            error.reason,
            logging.WARNING,
            f"{self._api.host}: {error}. Keeping the last known peers; trying again in {delay:.1f} s",
        )
        self._metrics.count_error(error.reason)
        self._stopping.wait(delay)

    def _report_malformed(self, errors: Sequence[Malformed]) -> None:
        for error in errors:
            self._log_once(Reason.MALFORMED, logging.WARNING, f"skipped an unreadable entry: {error}")
            self._metrics.count_error(Reason.MALFORMED)

    def _log_once(self, key: str, level: int, text: str) -> None:
        """Log `text`, at most once per `key` since the last healthy watch."""
        if key not in self._logged:
            self._logged.add(key)
            _LOG.log(level, text)
