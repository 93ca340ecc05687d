"""Peers from the EndpointSlices of a headless Service, followed by a list and a watch of our own."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from monlat_ebpf.config import KubernetesConfig, Timing
from monlat_ebpf.discovery import Publish
from monlat_ebpf.discovery.api_errors import ApiError, Reason
from monlat_ebpf.discovery.backoff import Backoff, RateLimiter
from monlat_ebpf.discovery.endpointslices import Malformed, membership_of
from monlat_ebpf.discovery.kubernetes_metrics import KubernetesMetrics
from monlat_ebpf.discovery.publisher import Publisher
from monlat_ebpf.discovery.slice_store import SliceStore, version_of
from monlat_ebpf.discovery.watch_events import WatchEvent
from monlat_ebpf.model import Peer

if TYPE_CHECKING:
    from monlat_ebpf.discovery.kubernetes_api import KubernetesApi

_PATIENCE: Final = 0.9
"""Seconds that stop() waits. Only a connection that is being made can outlast them: no other thread can end that."""

_log = logging.getLogger(__name__)


class _Stopped(Exception):
    """stop() was called."""


class KubernetesDiscovery:
    """Publishes the nodes on which the Service has endpoints, without `node_name`, and again when they change.

    While the API server is away or talks nonsense, the last known peers stay. A list of more than
    `max_peers` is refused whole. It follows the Protocol `Discovery`.
    """

    def __init__(
        self,
        config: KubernetesConfig,
        *,
        node_name: str,
        max_peers: int,
        registry: CollectorRegistry,
        timing: Timing | None = None,
    ) -> None:
        self._config = config
        self._node_name = node_name
        self._max_peers = max_peers
        self._timing = timing = timing or Timing()
        self._metrics = KubernetesMetrics(registry)
        self._backoff = Backoff(timing.backoff_base, timing.backoff_cap)
        self._budget = RateLimiter(timing.requests_per_second, timing.burst)
        self._lock = threading.Lock()
        self._store = SliceStore()
        self._own_zone = ""
        self._version: str | None = None  # where the watch goes on; None: read the list first
        self._opened_at = math.inf
        self._listed = False
        self._too_many = False
        self._told: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monlat-discovery", daemon=True)

    @property
    def own_zone(self) -> str:
        """This node's zone, as the endpoint of its own agent tells it; "" until it does."""
        return self._own_zone

    def start(self, publish: Publish) -> None:
        """Follow the Service in a thread, which publishes the first list as soon as the API server tells it.

        Raises ConfigError when there are no credentials to ask with. A server that is away raises nothing.
        """
        from monlat_ebpf.discovery.kubernetes_api import KubernetesApi

        self._api = KubernetesApi(self._config, self._timing)
        self._publish = publish
        self._publisher = Publisher(self._collect, self._take, self._timing.debounce_seconds)
        self._publisher.start()
        self._thread.start()
        service = f"{self._api.namespace}/{self._config.service}"
        _log.info("following service %s at %s", service, self._api.host)

    def stop(self) -> None:
        """End the threads, within a second; nothing is published once this has returned."""
        if self._thread.ident is None:
            return
        self._stopping.set()
        self._api.abort()
        self._publisher.stop()
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            _log.info("leaving a connection behind that is still being made to %s", self._api.host)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except _Stopped:
                break
            except ApiError as trouble:
                self._wait_after(trouble)
            except Exception as error:  # noqa: BLE001  # a slip of ours or of the library's must not end discovery
                _log.debug("unexpected", exc_info=True)
                self._wait_after(ApiError(Reason.INTERNAL, f"unexpected {error!r}", relist=True))
        self._api.close()

    def _follow(self) -> None:
        """List if need be, then watch until the watch ends. Raises ApiError, also for an end that comes too early."""
        version = self._list(self._api) if self._version is None else self._version
        self._opened_at = math.inf
        try:
            self._watch(self._api, version)
        finally:
            healthy = time.monotonic() - self._opened_at >= self._timing.healthy_seconds
            if healthy:
                self._backoff.reset()
                self._told.clear()
        if not healthy:
            raise ApiError(Reason.CLOSED, "the watch was closed as soon as it was open")

    def _list(self, api: KubernetesApi) -> str:
        """Read all slices, and return the version at which a watch may begin."""
        listed = SliceStore()  # page by page: the JSON of 5,000 nodes would cost 10 MB
        continuation = ""
        while True:
            self._wait_for_turn()
            page = api.list_page(continuation)
            self._note_malformed(listed.put_all(page.items))
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
        self._metrics.reception_report()
        self._publisher.changed()
        return page.version

    def _watch(self, api: KubernetesApi, version: str) -> None:
        self._wait_for_turn()
        with closing(api.watch(version, opened=self._opened)) as events:
            for event in events:
                self._metrics.reception_report()
                self._version = version_of(event.object.get("metadata")) or self._version
                self._apply(event)

    def _apply(self, event: WatchEvent) -> None:
        trouble: list[Malformed] = []
        with self._lock:
            try:
                if event.kind in ("ADDED", "MODIFIED"):
                    trouble = self._store.put(event.object)
                elif event.kind == "DELETED":
                    self._store.delete(event.object)
                else:
                    return
            except Malformed as error:
                trouble = [error]
        self._note_malformed(trouble)
        self._publisher.changed()

    def _opened(self) -> None:
        self._opened_at = time.monotonic()
        self._metrics.up.set(1)
        if self._told:
            self._tell_once("answers", logging.INFO, "the API server answers again")

    def _collect(self) -> Sequence[Peer]:
        with self._lock:
            slices = self._store.slices()
        membership = membership_of(slices, self._node_name)
        self._own_zone = membership.own_zone
        return membership.peers

    def _take(self, peers: Sequence[Peer]) -> None:
        """Publish `peers`, in the publisher's thread."""
        too_many = len(peers) > self._max_peers
        if too_many and not self._too_many:
            _log.error(
                "service %s has agents on %d other nodes, more than --max-peers (MONLAT_MAX_PEERS) allows: %d. "
                "Raise it; until then the last good list stays",
                self._config.service,
                len(peers),
                self._max_peers,
            )
        self._too_many = too_many
        if too_many:
            self._metrics.count(Reason.TOO_MANY)
            return
        self._publish(peers)
        self._metrics.last_change.set_to_current_time()
        _log.info("service %s: %d peers", self._config.service, len(peers))

    def _wait_for_turn(self) -> None:
        if self._stopping.wait(self._budget.take(time.monotonic())):
            raise _Stopped

    def _wait_after(self, trouble: ApiError) -> None:
        if self._stopping.is_set():
            return
        self._metrics.up.set(0)
        self._metrics.count(trouble.reason)
        delay = self._backoff.next_delay(trouble.retry_after)
        if trouble.relist:
            self._version = None
        self._tell_once(
            trouble.reason,
            logging.WARNING,
            f"{self._api.host}: {trouble}. The last known peers stay; asked again in {delay:.1f} s",
        )
        self._stopping.wait(delay)

    def _note_malformed(self, trouble: Sequence[Malformed]) -> None:
        for each in trouble:
            self._metrics.count(Reason.MALFORMED)
            self._tell_once(Reason.MALFORMED, logging.WARNING, f"left out what cannot be read: {each}")

    def _tell_once(self, key: str, level: int, text: str) -> None:
        """Log `text` unless the like was logged since the last healthy watch."""
        if key not in self._told:
            self._told.add(key)
            _log.log(level, text)
