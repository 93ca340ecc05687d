"""The collector as a process: connects the parts, starts them and stops them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from monlat_ebpf.collector.asking import Asker
from monlat_ebpf.collector.config import CollectorConfig
from monlat_ebpf.collector.detail import Document
from monlat_ebpf.collector.diagnosing import Diagnosing
from monlat_ebpf.collector.fetch import AskError, Failure
from monlat_ebpf.collector.metrics import CollectorMetrics
from monlat_ebpf.collector.routes import collector_routes
from monlat_ebpf.collector.slots import Slots
from monlat_ebpf.collector.store import Store
from monlat_ebpf.collector.watching import Watching
from monlat_ebpf.collector.windows import Windows
from monlat_ebpf.config import DiscoveryKind
from monlat_ebpf.discovery import Discovery
from monlat_ebpf.discovery.static import StaticDiscovery
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.exposition.http import MetricsServer
from monlat_ebpf.exposition.security import OPEN
from monlat_ebpf.exposition.web_security import WebSecurity
from monlat_ebpf.model import Peer

_TURN_SECONDS: Final = 1.0
_STALLED_AFTER_SECONDS: Final = 30.0
_ACCESS_SECONDS: Final = 30.0

_LOG = logging.getLogger(__name__)


def run(config: CollectorConfig) -> int:
    """Run a collector until SIGTERM or SIGINT; return its exit status. Raises ConfigError."""
    return asyncio.run(Collector(config).run())


class Collector:
    """Discovery, the tasks that ask agents, the store, and the HTTP server."""

    def __init__(self, config: CollectorConfig) -> None:
        """Open the port. Raises ConfigError."""
        self._config = config
        self._store = Store(stale_after_seconds=config.stale_after_seconds, history_bytes=config.history_bytes)
        self._slots = Slots(config.interval_seconds)
        self._windows = Windows(self._slots)
        self._metrics = CollectorMetrics(self._store, lambda: self._diagnosing.last)
        self._diagnosing = Diagnosing(
            self._windows,
            self._slots,
            self._store.view,
            grace_seconds=2 * config.timeout_seconds,
            observe=self._metrics.count_window,
        )
        self._discovery = _discovery(config, self._metrics)
        self._web_security = (
            WebSecurity(config.web_config, report=self._metrics.show_web_config()) if config.web_config else None
        )
        self._watching = Watching(self._ask_detail, config.interval_seconds)
        self._peers: dict[str, Peer] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._listed = False
        self._is_complete = False
        self._last_turn = time.monotonic()
        self._server = MetricsServer(
            config.listen,
            collector_routes(
                self._store,
                self._watching.detail_of,
                self._metrics,
                self._healthy,
                self._ready,
                config.interval_seconds,
                lambda: self._diagnosing.last,
            ),
            count_error=self._metrics.count_http_error,
            security=self._web_security.current if self._web_security else lambda: OPEN,
        )

    @property
    def ports(self) -> Sequence[int]:
        """The ports on which it listens."""
        return self._server.ports

    async def run(self) -> int:
        """Ask and serve until a signal; return 0, or 1 if a part has failed. Raises ConfigError."""
        self._loop = loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        parser, decider = ThreadPoolExecutor(1, "parser"), ThreadPoolExecutor(1, "diagnosis")
        try:
            self._asker = Asker(self._config, self._store, self._windows, self._slots, parser, self._metrics.count_ask)
            if self._web_security:
                self._web_security.start()
            self._discovery.start(self._publish)
            self._server.start()
            _LOG.info("port %s, process %d", ", ".join(map(str, self._server.ports)), os.getpid())
            running = (stopped.wait(), self._watching.run(), self._diagnosing.run(decider), self._turn())
            parts = [asyncio.create_task(part) for part in running]
            ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            failed = [error for part in ended if (error := part.exception())]
            for error in failed:
                _LOG.critical("the collector ends: %s", error, exc_info=error)
        finally:
            self._server.close()
            self._discovery.stop()
            if self._web_security:
                self._web_security.stop()
            for executor in (parser, decider):
                executor.shutdown(wait=False, cancel_futures=True)
        _LOG.info("ended")
        return 1 if failed else 0

    async def _turn(self) -> None:
        """Show that the loop turns, and read certificates and password again."""
        read_at = time.monotonic()
        while True:
            await asyncio.sleep(_TURN_SECONDS)
            self._last_turn = now = time.monotonic()
            if now - read_at >= _ACCESS_SECONDS:
                read_at = now
                self._asker.read_access_again()

    def _publish(self, peers: Sequence[Peer]) -> None:
        """Take the list in the thread of discovery."""
        self._loop.call_soon_threadsafe(self._set_peers, peers)

    def _set_peers(self, peers: Sequence[Peer]) -> None:
        """Follow the agents of `peers` alone; one whose addresses have changed is followed anew."""
        self._listed = True
        self._store.set_peers(peers)
        self._windows.follow((peer.name for peer in peers), time.monotonic())
        new = {peer.name: peer for peer in peers}
        for name, peer in self._peers.items():
            if new.get(name) != peer:
                self._tasks.pop(name).cancel()
        for name, peer in new.items():
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(self._follow(peer))
        self._peers = new

    async def _follow(self, peer: Peer) -> None:
        while True:
            try:
                await self._asker.follow(peer)
            except Exception as error:  # noqa: BLE001  # a defect with one agent must not end the others; it is logged
                _LOG.exception("agent of %s: unexpected", peer.name)
                self._metrics.count_ask(Failure.INTERNAL, 0.0)
                self._store.failed(peer.name, AskError(Failure.INTERNAL, f"causes an unexpected {error!r:.100}"))
                await asyncio.sleep(self._config.interval_seconds)

    async def _ask_detail(self, source: str, to: str) -> Document:
        peer = self._peers.get(source)
        if peer is None:
            raise AskError(Failure.UNREACHABLE, "has left the list")
        return await self._asker.ask_detail(peer, to)

    def _healthy(self) -> str | None:
        stalled = time.monotonic() - self._last_turn
        return f"the loop has not turned for {stalled:.0f} s" if stalled > _STALLED_AFTER_SECONDS else None

    def _ready(self) -> str | None:
        """Return why the matrix is not complete yet; once it was, a node that joins does not change that."""
        if self._is_complete:
            return None
        if not self._listed:
            return "no list of agents yet"
        if waiting := sum(node.age_seconds is None and node.failure is None for node in self._store.view()):
            return f"{waiting} agents have not been asked yet"
        self._is_complete = True
        return None


def _discovery(config: CollectorConfig, metrics: CollectorMetrics) -> Discovery:
    if config.discovery is DiscoveryKind.KUBERNETES:
        # imported here: the client takes 15 MB, which a collector with a peers file does not need
        from monlat_ebpf.discovery.kubernetes import KubernetesDiscovery

        return KubernetesDiscovery(config.kubernetes, node_name="", registry=metrics.registry)
    if config.peers_file is None:
        raise ConfigError("static discovery needs a peers file: give --peers FILE (MONLAT_PEERS)")
    return StaticDiscovery(config.peers_file, node_name="", registry=metrics.registry)
