"""What an agent is told before it starts: checked as it is made, frozen after. No files, no environment.

`monlat_ebpf.cli.agent` fills it from flags and variables, and tests fill it by hand: an AgentConfig that exists
is one that can be run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.config_text import duration_text, refuse
from monlat_ebpf.discovery.kubernetes_config import KubernetesConfig
from monlat_ebpf.node_name import why_unfit
from monlat_ebpf.sources import SourceChoice

DEFAULT_PORT: Final = 10045
"""9345 and most of the 9100s are taken on real nodes."""

_SHORTEST_INTERVAL: Final = 0.010
_LONGEST_INTERVAL: Final = 3600.0
_SHORTEST_TIMEOUT: Final = 0.001
_LONGEST_TIMEOUT: Final = float(2**layout.HIGHEST_OCTAVE)
_INTERVALS_IN_FLIGHT: Final = layout.PROBES_PER_TARGET - 1
_MOST_PEERS: Final = 100_000


class DiscoveryKind(StrEnum):
    """Where the list of peers comes from."""

    STATIC = "static"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Settings of one agent. Raises ConfigError, naming flag and variable, when a value cannot be."""

    node_name: str
    """This node's name: the label `from`, and the name by which it leaves itself out of the peers. The command
    line's default is the host's name, which is the node's name in most clusters."""

    zone: str = ""
    """This node's zone: the label `from_zone`. Empty by default: then it is what discovery says of this node."""

    discovery: DiscoveryKind = DiscoveryKind.STATIC
    """Where peers come from. Static by default: it asks for nothing but a file."""

    peers_file: Path | None = None
    """The peers file of static discovery (`--peers`); followed as it changes. No default: there is no good place."""

    kubernetes: KubernetesConfig = field(default_factory=KubernetesConfig)
    """Settings of Kubernetes discovery; without meaning for the other."""

    listen_host: str = "::"
    """Address of the HTTP server. `::` by default: every address of the node, IPv4 as well."""

    listen_port: int = DEFAULT_PORT
    """TCP port of the HTTP server; 0 takes a free one."""

    interval_seconds: float = 1.0
    """Seconds from one probe of an address to the next. 1 s by default, as ping does: 15 samples and more
    between two scrapes at common scrape intervals. At least 10 ms: one probe must not wait behind the last."""

    timeout_seconds: float = 1.0
    """Seconds after which a probe without a reply is lost. 1 s by default, as ping waits. At most 8 s, the
    histogram's last edge, and at most 15 intervals: a 16th would need a place in the kernel's table that is in use."""

    max_peers: int = 1000
    """Peers at most; a longer list is refused whole. 1000 by default: a wrong list must not flood a network, and
    the kernel's tables, some 5 KiB for a peer of two addresses, are made for this many at the start."""

    source: SourceChoice = SourceChoice.AUTO
    """Who stamps the packets. `auto` by default; a source asked for by name is never replaced by another."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        self._check_names()
        self._check_times()
        if not 1 <= self.max_peers <= _MOST_PEERS:
            refuse("max-peers", f"{self.max_peers} is out of range; give 1 to {_MOST_PEERS}")
        if not 0 <= self.listen_port <= 65_535:
            refuse("listen", f"port {self.listen_port} does not exist; give 0 to 65535")
        self._check_discovery()

    def _check_names(self) -> None:
        if not self.node_name:
            refuse(
                "node-name", "this node has no name, and the host has none to take; give the name that peers know it by"
            )
        if reason := why_unfit(self.node_name):
            refuse("node-name", f"{self.node_name[:40]!r} {reason}; give the name that peers know this node by")
        if self.zone and (reason := why_unfit(self.zone)):
            refuse("zone", f"{self.zone[:40]!r} {reason}; give a short name or nothing")

    def _check_discovery(self) -> None:
        if self.discovery is DiscoveryKind.STATIC and self.peers_file is None:
            refuse("peers", "static discovery reads a peers file, and none is named; give --peers FILE")
        if self.discovery is not DiscoveryKind.STATIC and self.peers_file is not None:
            refuse(
                "peers",
                f"discovery {self.discovery} reads no peers file; leave --peers out, or take --discovery static",
            )

    def _check_times(self) -> None:
        interval, timeout = duration_text(self.interval_seconds), duration_text(self.timeout_seconds)
        if self.interval_seconds <= 0:
            refuse("interval", f"{interval} is no time between two probes; give 10ms or more, 1s is usual")
        if self.interval_seconds < _SHORTEST_INTERVAL:
            refuse("interval", f"{interval} is too short, one probe would wait behind the last; give 10ms or more")
        if self.interval_seconds > _LONGEST_INTERVAL:
            refuse("interval", f"{interval} is too long for a series of samples; give 1h or less")
        if self.timeout_seconds < _SHORTEST_TIMEOUT:
            refuse("timeout", f"{timeout} leaves a reply no time to come; give 1ms or more, 1s is usual")
        if self.timeout_seconds > _LONGEST_TIMEOUT:
            refuse(
                "timeout", f"{timeout} is over {duration_text(_LONGEST_TIMEOUT)}, where the histogram ends; give less"
            )
        # In whole nanoseconds: 15 x 0.1 s is more than 1.5 s in floating point.
        longest = _INTERVALS_IN_FLIGHT * round(self.interval_seconds * 1e9)
        if round(self.timeout_seconds * 1e9) > longest:
            refuse(
                "timeout",
                f"{timeout} is over {_INTERVALS_IN_FLIGHT} intervals of {interval}, and no more probes of an address "
                f"can be in flight; give {duration_text(longest / 1e9)} or less, or a longer --interval",
            )
