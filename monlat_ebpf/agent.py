"""The agent: chooses the concrete parts, connects them, starts them and stops them. Nothing else does."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Final

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.config import AgentConfig, DiscoveryKind
from monlat_ebpf.discovery import Discovery
from monlat_ebpf.discovery.peer_set import PeerSet
from monlat_ebpf.discovery.static import StaticDiscovery
from monlat_ebpf.errors import ConfigError, StartError
from monlat_ebpf.exposition.detail import Details
from monlat_ebpf.exposition.http import MetricsServer
from monlat_ebpf.exposition.routes import agent_routes
from monlat_ebpf.exposition.security import OPEN
from monlat_ebpf.exposition.self_metrics import SelfMetrics
from monlat_ebpf.host import capabilities
from monlat_ebpf.host.addresses import LocalAddresses
from monlat_ebpf.host.heap import share_one_heap
from monlat_ebpf.host.time_slice import take_short_slices
from monlat_ebpf.model import AgentSnapshot, Family, PairReading, PairSnapshot, Peer, PeerKind, RecentProbe
from monlat_ebpf.probing.feedback import FeedbackChannel
from monlat_ebpf.probing.next_hop import TableWatch
from monlat_ebpf.probing.prober import Prober
from monlat_ebpf.sources import Sending
from monlat_ebpf.sources.choice import open_source

if TYPE_CHECKING:
    from monlat_ebpf.exposition.web_security import WebSecurity

_LOG = logging.getLogger(__name__)

_STALLED_AFTER_SECONDS: Final = 30.0
"""If the prober's loop has not turned for so long, /healthz fails: far longer than a CPU limit can hold it up."""


_SWITCH_SECONDS: Final = 5e-5
"""How long the prober's thread waits for one that renders a scrape. Each probe gives way for its system call, so with
Python's usual 5 ms a few of a tick's probes that lose the race would make all later ones late."""


def run(config: AgentConfig) -> int:
    """Run an agent until SIGTERM or SIGINT; return its exit status. Raises MonlatError when it cannot start."""
    share_one_heap()
    sys.setswitchinterval(_SWITCH_SECONDS)
    agent: Agent | None = None

    def end(_signal: int, _frame: FrameType | None) -> None:
        if agent is None:
            sys.exit(0)  # still loading: the kernel closes its descriptors, and its child ends with it
        agent.stop()

    # before the source is loaded: for the first process of a container, neither signal has a default action
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    failed: list[BaseException] = []

    def end_with_thread(arguments: threading.ExceptHookArgs) -> None:
        _LOG.critical(
            "thread %s failed, the agent ends", arguments.thread and arguments.thread.name, exc_info=arguments.exc_value
        )
        failed.append(arguments.exc_value or SystemExit())
        if agent is not None:
            agent.stop()

    threading.excepthook = end_with_thread  # a process that has lost a thread would serve old values, or nothing
    try:
        agent = Agent(config)
        if not failed:
            agent.run()
    except (OSError, MemoryError, RuntimeError) as error:  # RuntimeError: a thread cannot be started
        raise StartError(
            f"the agent cannot run: {str(error) or type(error).__name__}; "
            "raise its limits (ulimit -a, or those of its pod)"
        ) from error
    return 1 if failed else 0


class Agent:
    """What one node runs: discovery, prober, source and exposition."""

    def __init__(self, config: AgentConfig) -> None:
        """Open the source and the port. Raises ConfigError or SourceError."""
        self._config = config
        self._created_unix_seconds = int(time.time())
        self._self_metrics = SelfMetrics()
        self._discovery = _discovery(config, self._self_metrics)
        self._targets = _targets(config, self._self_metrics)
        self._peer_set = PeerSet(
            self._set_peers,
            node_name=config.node_name,
            own_zone=lambda: self._discovery.own_zone or config.zone,  # as the peers know it, if they list it
            choice=config.probe_neighbours,
            max_peers=config.max_peers,
            registry=self._self_metrics.registry,
        )
        self._web_security = _web_security(config, self._self_metrics)
        self._skipped: frozenset[str] = frozenset()
        self._local_addresses = LocalAddresses()
        self._link_tables = TableWatch()
        self._server = MetricsServer(
            config.listen,
            agent_routes(
                self.snapshot,
                self._readings,
                self._healthy,
                self._ready,
                self._self_metrics,
                self._recent,
                Details(config.shown, config.timeout_seconds),
            ),
            count_error=self._self_metrics.count_http_error,
            security=self._web_security.current if self._web_security else lambda: OPEN,
        )
        try:
            self._source, self._source_reason = open_source(
                config.source,
                TableSize(config.max_peers * len(Family)),
                sending=Sending(config.dscp, config.source_addresses),
                when_opened=self._drop_capabilities,
            )
        except BaseException:
            self._server.close()
            raise
        self._self_metrics.show_source_errors(self._source.errors)
        self._prober = Prober(
            self._source,
            interval_seconds=config.interval_seconds,
            timeout_seconds=config.timeout_seconds,
            max_peers=config.max_peers,
            node=config.node_name,
            feedback=FeedbackChannel.of(self._source),
            own_addresses=lambda: self._discovery.own_addresses,
            on_lags=self._self_metrics.schedule_lag.observe,
        )

    def _drop_capabilities(self) -> None:
        """Drop all: the sockets are open, and what is done with them later needs none.

        To bind them to another address of this host, to ask the kernel for routes and link addresses, and to map more
        memory of the kernel program's maps is allowed to every process that has the descriptors.
        """
        self._self_metrics.show_capabilities(capabilities.keep_only(()))

    def run(self) -> None:
        """Probe and serve until `stop`."""
        try:
            if self._web_security:
                self._web_security.start()  # after capabilities are dropped: what is read now can be read again later
            if self._targets:
                self._targets.start(self._peer_set.set_targets)
            self._discovery.start(self._peer_set.set_nodes)
            self._server.start()
            _LOG.info(
                "node %s: source %s, port %s, process %d",
                self._config.node_name,
                self._source.name,
                ", ".join(map(str, self._server.ports)),
                os.getpid(),
            )
            take_short_slices()  # after the other threads were started: they would inherit it
            self._prober.run()
        finally:
            self._server.close()
            self._discovery.stop()
            if self._targets:
                self._targets.stop()
            if self._web_security:
                self._web_security.stop()
            self._source.close()
        _LOG.info("ended")

    def stop(self) -> None:
        """Make `run` return; safe in a signal handler."""
        self._prober.stop()

    def snapshot(self, peer: str | None = None) -> AgentSnapshot:
        """Return what is known now, with every reply so far.

        The pairs, of `peer` alone if it is given, are read one by one as they are taken: only once.
        """
        return self._state(self._prober.pairs(peer))

    def _readings(self) -> tuple[AgentSnapshot, Iterable[PairReading]]:
        return self._state(()), self._prober.readings()

    def _state(self, pairs: Iterable[PairSnapshot]) -> AgentSnapshot:
        sessions = self._source.sessions
        return AgentSnapshot(
            node=self._config.node_name,
            zone=self._config.zone or self._discovery.own_zone,
            source=self._source.name,
            source_reason=self._source_reason,
            interval_seconds=self._config.interval_seconds,
            timeout_seconds=self._config.timeout_seconds,
            pairs=pairs,
            created_unix_seconds=self._created_unix_seconds,
            probe_errors=self._prober.errors(),
            skipped_probes=self._prober.skipped(),
            unmatched_packets=self._source.table.unmatched_packets(),
            rejected_feedback=sessions.rejected_feedback() if sessions else None,
            send_delay=self._prober.send_delay(),
            reply_stamps=self._prober.reply_stamps(),
            unlisted_sources=self._prober.unlisted_sources(),
        )

    def _recent(self, peer: str) -> Mapping[Family, Sequence[RecentProbe]]:
        return self._prober.recent(peer)  # the prober is made after the server

    def _set_peers(self, peers: Sequence[Peer]) -> None:
        """Probe the peers that discovery found, but not this node: that would measure the loopback device."""
        others = [peer for peer in peers if peer.name != self._config.node_name]
        local = self._local_addresses.among(address for peer in others for address in peer.addresses)
        skipped = frozenset(peer.name for peer in others if not local.isdisjoint(peer.addresses))
        for name in sorted(skipped - self._skipped):
            _LOG.warning("peer %s has an address of this node (%s): not probed", name, self._config.node_name)
        self._skipped = skipped
        probed = [peer for peer in others if peer.name not in skipped]
        self._link_tables.watch(address for peer in probed for address in peer.addresses)
        self._prober.set_peers(probed)

    def _healthy(self) -> str | None:
        stalled = (time.monotonic_ns() - self._prober.last_turn_ns) / 1e9
        allowed = _STALLED_AFTER_SECONDS + self._config.interval_seconds
        return f"the prober's loop has not turned for {stalled:.0f} s" if stalled > allowed else None

    def _ready(self) -> str | None:
        return None if self._peer_set.knows_nodes else "no list of peers yet"


def _web_security(config: AgentConfig, metrics: SelfMetrics) -> WebSecurity | None:
    if config.web_config is None:
        return None
    from monlat_ebpf.exposition.web_security import WebSecurity  # here: it loads PyYAML

    return WebSecurity(config.web_config, report=metrics.show_web_config())


def _targets(config: AgentConfig, metrics: SelfMetrics) -> StaticDiscovery | None:
    if config.targets_file is None:
        return None
    return StaticDiscovery(
        config.targets_file, node_name=config.node_name, registry=metrics.registry, kind=PeerKind.TARGET
    )


def _discovery(config: AgentConfig, metrics: SelfMetrics) -> Discovery:
    if config.discovery is DiscoveryKind.KUBERNETES:
        # imported here: the client takes 15 MB, which an agent with a peers file does not need
        from monlat_ebpf.discovery.kubernetes import KubernetesDiscovery

        return KubernetesDiscovery(config.kubernetes, node_name=config.node_name, registry=metrics.registry)
    if config.peers_file is None:
        raise ConfigError("static discovery needs a peers file: give --peers FILE (MONLAT_PEERS)")
    return StaticDiscovery(config.peers_file, node_name=config.node_name, registry=metrics.registry)
