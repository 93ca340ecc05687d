"""The settings of an agent: checked when they are made, then frozen. Reads no files and no environment.

`monlat_ebpf.cli.agent` makes an AgentConfig from flags and variables. Every AgentConfig that exists is valid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.config_text import duration_text, refuse
from monlat_ebpf.model import EVERYTHING, Address, Detail, Family, Shown, why_unfit
from monlat_ebpf.sources import SourceChoice

DEFAULT_PORT: Final = 10045
"""Other programs on real nodes use 9345 and most of the 9100s."""

MOST_PEERS: Final = 100_000

LARGEST_DEGREE: Final = 128
"""Of `--probe-neighbours K`. Each two more cost another order of all nodes; who wants more wants all."""

HIGHEST_DSCP: Final = 63
"""The field has six bits (RFC 2474)."""

SHORTEST_INTERVAL: Final = 0.010
_LONGEST_INTERVAL: Final = 3600.0
_SHORTEST_TIMEOUT: Final = 0.001
_LONGEST_TIMEOUT: Final = float(2**layout.HIGHEST_OCTAVE)
_INTERVALS_IN_FLIGHT: Final = layout.PROBES_PER_TARGET - 1
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


class DiscoveryKind(StrEnum):
    """Where the list of peers comes from."""

    STATIC = "static"
    KUBERNETES = "kubernetes"


class PeerChoice(StrEnum):
    """Which nodes an agent probes, if not a number of them. `auto`: all up to 100 nodes, and 32 if there are more."""

    ALL = "all"
    AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times and limits of Kubernetes discovery; times are in seconds.

    The defaults are for a cluster with thousands of nodes, whose agents all ask the same API server. Tests use
    shorter times.
    """

    backoff_base: float = 1.0
    """Longest wait after the first failure; each further failure doubles it. 1 s, as in Kubernetes' own clients."""

    backoff_cap: float = 60.0
    """Upper limit of that wait. 60 s: the agent continues to probe the known peers."""

    outage_cap: float = 3.0
    """Upper limit of that wait during an outage of the API server, in a small cluster. 3 s, so that its agents follow
    again within 5 s of the server's return. Not below: an agent has one request a second, and a list needs two."""

    retries_per_second: float = 30.0
    """How often all agents together ask the API server after they failed together: 30 times a second on average, 50 at
    most. Where this needs more time than the limits above give, waits are longer: 5,000 agents list within 6 minutes
    of the server's return, 60 within 4 s."""

    requests_per_second: float = 1.0
    """Average rate of requests, whatever the API server answers."""

    burst: int = 3
    """Requests allowed before that rate applies: a list of two pages and a watch."""

    page_size: int = 50
    """EndpointSlices in one answer. 50 slices of 100 endpoints are about 2 MB of JSON in memory."""

    connect_timeout: float = 5.0
    """Timeout of the TCP connection and of the TLS handshake."""

    list_timeout: float = 30.0
    """Timeout of a list: longest time without data."""

    watch_seconds: float = 290.0
    """Time after which the API server ends a watch, plus up to a tenth, so that the agents spread over its replicas
    again."""

    quiet_seconds: float = 100.0
    """Time without data after which the connection of a watch counts as dead. Bookmarks come once a minute."""

    healthy_seconds: float = 10.0
    """A watch that ends earlier counts as a failure, so that the agent waits before it opens the next one."""

    debounce_seconds: float = 0.2
    """Changes within this time are published together: a node that moves between slices never seems to be gone."""

    keep_seconds: float = 60.0
    """Time for which a node that left the list is still probed. Longer than the replacement of a pod, so that the node
    keeps its counters and histograms over a rollout; shorter than any alert waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesConfig:
    """Settings of Kubernetes discovery. Raises ConfigError that names the flag and its variable."""

    namespace: str = ""
    """Namespace of the Service (`--namespace`). Empty: that of the service account or of the kubeconfig's context."""

    service: str = "monlat-agents"
    """The headless Service whose endpoints are the agents (`--service`). The default is its name in the manifests."""

    kubeconfig: str = ""
    """Path of a kubeconfig (`--kubeconfig`), or several in the form of KUBECONFIG. Empty: KUBECONFIG if it is set, then
    the pod's service account, then ~/.kube/config."""

    service_account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    """Directory in which the kubelet mounts token, CA and namespace. A rotated token is read again."""

    def __post_init__(self) -> None:
        """Check the names."""
        if self.namespace and not _DNS_LABEL.fullmatch(self.namespace):
            refuse("namespace", f"{self.namespace[:70]!r} is not a namespace; use lower-case letters, digits and -")
        if not _DNS_LABEL.fullmatch(self.service):
            refuse(
                "service", f"{self.service[:70]!r} is not the name of a Service; use lower-case letters, digits and -"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Settings of one agent. Raises ConfigError that names the flag and its variable."""

    node_name: str
    """This node's name: the label `from`. The agent does not probe the peer of this name. The command line's default
    is the host's name, which is the node's name in most clusters."""

    zone: str = ""
    """This node's zone: the label `from_zone`. Empty by default: the zone comes from discovery."""

    discovery: DiscoveryKind = DiscoveryKind.STATIC
    """Where peers come from. Static by default: it needs only a file."""

    peers_file: Path | None = None
    """The peers file of static discovery (`--peers`), read again when it changes. No default: no path suits all."""

    targets_file: Path | None = None
    """Hosts to probe beside the nodes, such as gateways (`--targets`): a file in the form of the peers file, read again
    when it changes. They have no agent."""

    kubernetes: KubernetesConfig = field(default_factory=KubernetesConfig)
    """Settings of Kubernetes discovery."""

    listen: tuple[tuple[str, int], ...] = (("::", DEFAULT_PORT),)
    """Hosts and TCP ports of the HTTP server. `::` by default: every address of the node, including IPv4. Port 0: any
    free port."""

    web_config: Path | None = None
    """TLS, passwords and headers of the HTTP server, in the form of Prometheus' exporter-toolkit (`--web-config`), read
    again when the file or a certificate changes. Without it: plain HTTP, open to all who reach it."""

    interval_seconds: float = 1.0
    """Seconds between two probes of an address. 1 s by default, as in ping: at least 15 samples between two scrapes at
    common scrape intervals. At least 10 ms: a probe must not wait behind the one before it."""

    timeout_seconds: float = 1.0
    """Seconds after which a probe without a reply is lost. 1 s by default, as in ping. At most 8 s, the last edge of
    the histogram, and at most 15 intervals: the kernel's table has 16 slots for each address."""

    probe_neighbours: int | PeerChoice = PeerChoice.AUTO
    """How many nodes each node probes (`--probe-neighbours`), an even number, or which (`monlat_ebpf.discovery.graph`).
    `auto` by default: the number of all pairs grows with the square of the number of nodes. Targets are always probed.
    All agents must have the same setting: else some pairs are probed in one direction alone."""

    max_peers: int = 1000
    """Most peers that are probed, nodes and targets. Where more are wanted, a part is probed that is the same in both
    directions (`monlat_ebpf.discovery.coverage`). 1000 by default: a wrong list must not flood a network. The kernel's
    tables are allocated for this number at the start, 12 KiB for a peer with two addresses."""

    dscp: int = 0
    """Differentiated services code point of the probes, 0 to 63 (`--dscp`): the class that their switches and queues
    treat them as. 0 by default, as in ping."""

    source_addresses: tuple[Address, ...] = ()
    """Addresses from which probes leave, at most one of a family (`--source-address`). Empty by default: this node's
    address in the list of peers, else what the route prefers. The peers know this node by the listed one."""

    source: SourceChoice = SourceChoice.AUTO
    """What takes the time stamps. `auto` by default. A source that is named is never replaced by another."""

    shown: Shown = EVERYTHING
    """How much of a pair /metrics shows (`--histograms`, `--detail`, `--worst`). All by default: a fault of one pair
    shows in no sum. Gauge and counters are of each pair in any case. `docs/prometheus.md` has the series of each."""

    def __post_init__(self) -> None:
        """Check all settings."""
        self._check_names()
        self._check_times()
        if not 1 <= self.max_peers <= MOST_PEERS:
            refuse("max-peers", f"{self.max_peers} is out of range; give 1 to {MOST_PEERS}")
        self._check_degree()
        self._check_listen()
        self._check_discovery()
        self._check_sending()
        self._check_shown()

    def _check_names(self) -> None:
        if not self.node_name:
            refuse("node-name", "this node has no name, and its host has none either; give the name that peers use")
        if reason := why_unfit(self.node_name):
            refuse("node-name", f"{self.node_name[:40]!r} {reason}; give the name that peers use for this node")
        if self.zone and (reason := why_unfit(self.zone)):
            refuse("zone", f"{self.zone[:40]!r} {reason}; give a short name or nothing")

    def _check_degree(self) -> None:
        degree = self.probe_neighbours
        if isinstance(degree, PeerChoice):
            return
        if not 2 <= degree <= LARGEST_DEGREE:
            refuse("probe-neighbours", f"{degree} is out of range; give 2 to {LARGEST_DEGREE}, all or auto")
        if degree % 2:
            refuse(
                "probe-neighbours",
                f"{degree} is odd, and a node has one on either side; give {degree - 1} or {degree + 1}",
            )
        if 2 * degree - 2 > self.max_peers:
            refuse(
                "probe-neighbours",
                f"{degree} can come to {2 * degree - 2} peers of a node, and --max-peers allows {self.max_peers}; give "
                "fewer, or raise --max-peers on all nodes",
            )

    def _check_listen(self) -> None:
        if not self.listen:
            refuse("listen", f"no address; give for example [::]:{DEFAULT_PORT}")
        for number, (host, port) in enumerate(self.listen):
            shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            if not 0 <= port <= 65_535:
                refuse("listen", f"port {port} does not exist; give 0 to 65535")
            if port and (host, port) in self.listen[:number]:
                refuse("listen", f"{shown} is given twice; keep one")
            if port and host == "::" and any(other != host and port == same for other, same in self.listen):
                refuse("listen", f"{shown} serves every address of port {port}; keep it alone, or give addresses only")

    def _check_discovery(self) -> None:
        if self.discovery is DiscoveryKind.STATIC and self.peers_file is None:
            refuse("peers", "static discovery needs a peers file; give --peers FILE")
        if self.discovery is not DiscoveryKind.STATIC and self.peers_file is not None:
            refuse("peers", f"discovery {self.discovery} reads no peers file; omit --peers, or use --discovery static")

    def _check_sending(self) -> None:
        if not 0 <= self.dscp <= HIGHEST_DSCP:
            refuse("dscp", f"{self.dscp} is out of range; give 0 to {HIGHEST_DSCP}, for example 46 (EF)")
        by_family: dict[Family, Address] = {}
        for address in self.source_addresses:
            if (other := by_family.setdefault(Family.of(address), address)) is not address:
                family = Family.of(address)
                refuse("source-address", f"{other} and {address} are both {family}; keep one of each family")

    def _check_shown(self) -> None:
        if not 0 <= self.shown.worst <= MOST_PEERS:
            refuse("worst", f"{self.shown.worst} is out of range; give 0 to {MOST_PEERS}")
        if self.shown.worst and self.shown.detail is Detail.PEER:
            refuse("worst", "--detail peer shows every pair in full; give --detail zone or none, or omit --worst")

    def _check_times(self) -> None:
        interval, timeout = duration_text(self.interval_seconds), duration_text(self.timeout_seconds)
        if self.interval_seconds <= 0:
            refuse("interval", f"{interval} is not a time between two probes; give 10ms or more, for example 1s")
        if self.interval_seconds < SHORTEST_INTERVAL:
            refuse(
                "interval", f"{interval} is too short: a probe would wait behind the one before it; give 10ms or more"
            )
        if self.interval_seconds > _LONGEST_INTERVAL:
            refuse("interval", f"{interval} is too long for a useful time series; give 1h or less")
        if self.timeout_seconds < _SHORTEST_TIMEOUT:
            refuse("timeout", f"{timeout} is too short for any reply; give 1ms or more, for example 1s")
        if self.timeout_seconds > _LONGEST_TIMEOUT:
            longest = duration_text(_LONGEST_TIMEOUT)
            refuse("timeout", f"{timeout} is beyond the end of the histogram; give {longest} or less")
        # In whole nanoseconds: 15 x 0.1 s is not 1.5 s in floating point.
        longest_ns = _INTERVALS_IN_FLIGHT * round(self.interval_seconds * 1e9)
        if round(self.timeout_seconds * 1e9) > longest_ns:
            refuse(
                "timeout",
                f"{timeout} is longer than {_INTERVALS_IN_FLIGHT} intervals of {interval}: an address has no more "
                f"probes in flight; give {duration_text(longest_ns / 1e9)} or less, or a longer --interval",
            )
