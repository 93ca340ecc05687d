"""The settings of a collector: checked when they are made, then frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from monlat_ebpf.config import DEFAULT_PORT as AGENT_PORT
from monlat_ebpf.config import DiscoveryKind, KubernetesConfig
from monlat_ebpf.config_text import duration_text, refuse
from monlat_ebpf.exposition.client_access import ClientAccess

DEFAULT_PORT: Final = 9090
"""The port of the collector that monlat's prototype had."""

SHORTEST_INTERVAL: Final = 1.0
LONGEST_INTERVAL: Final = 600.0


class Scheme(StrEnum):
    """How agents are asked."""

    HTTP = "http"
    HTTPS = "https"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorConfig:
    """Settings of a collector. Raises ConfigError that names the flag and its variable."""

    discovery: DiscoveryKind = DiscoveryKind.STATIC
    """Where the list of agents comes from: it is the agents' own list of peers."""

    peers_file: Path | None = None
    """The agents' peers file, for static discovery (`--peers`), read again when it changes."""

    kubernetes: KubernetesConfig = field(default_factory=KubernetesConfig)
    """Settings of Kubernetes discovery."""

    listen: tuple[tuple[str, int], ...] = (("::", DEFAULT_PORT),)
    """Hosts and TCP ports of the HTTP server. `::`: every address, including IPv4. Port 0: any free port."""

    web_config: Path | None = None
    """TLS, passwords and headers of the HTTP server (`--web-config`), as for the agent."""

    agent_port: int = AGENT_PORT
    """TCP port on which every agent listens."""

    agent_scheme: Scheme = Scheme.HTTP
    """HTTPS for agents whose web configuration has TLS."""

    agent_server_name: str = "monlat-agents"
    """Name that an agent's certificate must have. Agents are asked by address, and share a certificate: the default is
    the name that Prometheus asks for, too."""

    access: ClientAccess = field(default_factory=ClientAccess)
    """CA of the agents' certificates, client certificate, user and password. Read again every half minute."""

    interval_seconds: float = 5.0
    """Seconds between two questions to an agent. 5 s: a third of a common scrape interval."""

    timeout_seconds: float = 2.0
    """Longest time of an agent to send the head of its answer, and again to send its body. At most the interval."""

    history_bytes: int = 64 * 1024 * 1024
    """Memory for the history of all pairs together. 64 MiB: docs/collector.md says how many hours that is."""

    def __post_init__(self) -> None:
        """Check all settings."""
        if self.discovery is DiscoveryKind.STATIC and self.peers_file is None:
            refuse("peers", "static discovery needs a peers file; give --peers FILE")
        if self.discovery is not DiscoveryKind.STATIC and self.peers_file is not None:
            refuse("peers", f"discovery {self.discovery} reads no peers file; omit --peers, or use --discovery static")
        if not 1 <= self.agent_port <= 65_535:
            refuse("agent-port", f"{self.agent_port} is not a port; give 1 to 65535")
        if not self.agent_server_name:
            refuse("agent-server-name", "the name is empty; give a name that the agents' certificate has")
        interval, timeout = duration_text(self.interval_seconds), duration_text(self.timeout_seconds)
        if not SHORTEST_INTERVAL <= self.interval_seconds <= LONGEST_INTERVAL:
            limits = f"{duration_text(SHORTEST_INTERVAL)} to {duration_text(LONGEST_INTERVAL)}"
            refuse("collect-interval", f"{interval} is out of range; give {limits}")
        if not 0 < self.timeout_seconds <= self.interval_seconds:
            refuse("collect-timeout", f"{timeout} is out of range; give more than 0 and at most {interval}")

    @property
    def stale_after_seconds(self) -> float:
        """Age from which an answer is stale, even if the agent is being asked: two questions went unanswered."""
        return 2 * self.interval_seconds + 2 * self.timeout_seconds
