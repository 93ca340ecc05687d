"""`monlat agent`: the process that runs on every node."""

from __future__ import annotations

import socket
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import click

from monlat_ebpf.cli.log import start_logging
from monlat_ebpf.cli.options import Degree, Duration, Histograms, IpAddress, Listen, dscp_option, setting
from monlat_ebpf.config import MOST_PEERS, AgentConfig, DiscoveryKind, KubernetesConfig, PeerChoice
from monlat_ebpf.config_text import duration_text
from monlat_ebpf.model import Address, Detail, HistogramKind, Shown
from monlat_ebpf.sources import SourceChoice

_LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_DEFAULT: Final[dict[str, Any]] = {field.name: field.default for field in fields(AgentConfig)}
_KUBERNETES_DEFAULT: Final[dict[str, Any]] = {field.name: field.default for field in fields(KubernetesConfig)}


@click.command("agent")
@setting(
    "--node-name",
    metavar="NAME",
    default=socket.gethostname,
    show_default="the host's name",
    help="Name of this node: the label `from`. The entry of this name in a shared peers file is this node.",
)
@setting("--zone", metavar="NAME", default=_DEFAULT["zone"], help="Zone of this node: the label `from_zone`.")
@setting(
    "--discovery",
    type=click.Choice(DiscoveryKind, case_sensitive=False),
    default=_DEFAULT["discovery"].value,
    show_default=True,
    help="Where the list of peers comes from.",
)
@setting(
    "--peers",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Peers file (YAML) of static discovery. The agent reads it again when it changes.",
)
@setting(
    "--targets",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Hosts without an agent to probe beside the nodes, in the form of the peers file. The agent reads it again "
    "when it changes.",
)
@setting(
    "--namespace",
    metavar="NAME",
    default=_KUBERNETES_DEFAULT["namespace"],
    help="Namespace of the Service that lists the agents. Without it: the agent's own namespace.",
)
@setting(
    "--service",
    metavar="NAME",
    default=_KUBERNETES_DEFAULT["service"],
    show_default=True,
    help="Headless Service whose endpoints are the agents.",
)
@setting(
    "--kubeconfig",
    metavar="FILE",
    default=_KUBERNETES_DEFAULT["kubeconfig"],
    help="Kubeconfig of an agent that runs outside the cluster.",
)
@setting(
    "--listen",
    type=Listen(),
    multiple=True,
    default=[f"[{host}]:{port}" for host, port in _DEFAULT["listen"]],
    show_default=True,
    help="Address of /metrics and of the other paths; may be given several times. [::] also serves IPv4.",
)
@setting(
    "--web-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TLS, passwords and headers (YAML, the form of Prometheus' exporter-toolkit). The agent reads it and its "
    "certificates again when they change.",
)
@setting(
    "--interval",
    type=Duration(),
    default=duration_text(_DEFAULT["interval_seconds"]),
    show_default=True,
    help="Time between two probes of an address.",
)
@setting(
    "--timeout",
    type=Duration(),
    default=duration_text(_DEFAULT["timeout_seconds"]),
    show_default=True,
    help="A probe without a reply after this time is lost.",
)
@setting(
    "--probe-neighbours",
    type=Degree(),
    metavar="K|all|auto",
    default=_DEFAULT["probe_neighbours"].value,
    show_default=True,
    help="Of the nodes, probe K that probe this one, and those that pair its zone with others; or all. auto: all up to "
    "100 nodes, 32 if there are more. The same on all nodes.",
)
@setting(
    "--max-peers",
    type=click.IntRange(1, MOST_PEERS),
    metavar="N",
    default=_DEFAULT["max_peers"],
    show_default=True,
    help="Probe at most so many peers. Where more are wanted, every agent probes a part, the same in both directions.",
)
@dscp_option()
@setting(
    "--source-address",
    "source_addresses",
    type=IpAddress(),
    multiple=True,
    metavar="ADDRESS",
    help="Address of this host from which probes leave; may be given once for each family. Without it: this node's "
    "address in the list of peers, else what the route prefers.",
)
@setting(
    "--source",
    type=click.Choice(SourceChoice, case_sensitive=False),
    default=_DEFAULT["source"].value,
    show_default=True,
    help="What takes the time stamps. auto uses the best source that this machine allows.",
)
@setting(
    "--histograms",
    type=Histograms(),
    metavar="NAMES",
    default=",".join(_DEFAULT["shown"].histograms),
    show_default=True,
    help="Histograms that /metrics shows: names of rtt, network, dwell with commas, or none.",
)
@setting(
    "--detail",
    type=click.Choice(Detail, case_sensitive=False),
    default=_DEFAULT["shown"].detail.value,
    show_default=True,
    help="What has these histograms: each peer, all peers of a zone together, or nothing. Gauge and counters are of "
    "each peer in any case.",
)
@setting(
    "--worst",
    type=click.IntRange(0, MOST_PEERS),
    metavar="K",
    default=_DEFAULT["shown"].worst,
    show_default=True,
    help="Show so many pairs in full where --detail is zone or none: those that lost most time in the last minutes.",
)
@setting(
    "--log-level",
    type=click.Choice(_LOG_LEVELS),
    default="info",
    show_default=True,
    help="Write log records of this level and above to standard error.",
)
def command(
    node_name: str,
    zone: str,
    discovery: DiscoveryKind,
    peers: Path | None,
    targets: Path | None,
    namespace: str,
    service: str,
    kubeconfig: str,
    listen: tuple[tuple[str, int], ...],
    web_config: Path | None,
    interval: float,
    timeout: float,
    probe_neighbours: int | PeerChoice,
    max_peers: int,
    dscp: int,
    source_addresses: tuple[Address, ...],
    source: SourceChoice,
    histograms: tuple[HistogramKind, ...],
    detail: Detail,
    worst: int,
    log_level: str,
) -> int:
    """Probe the peers, and serve the measurements at /metrics and /api/v1/peers."""
    config = AgentConfig(
        node_name=node_name,
        zone=zone,
        discovery=discovery,
        peers_file=peers,
        targets_file=targets,
        kubernetes=KubernetesConfig(namespace=namespace, service=service, kubeconfig=kubeconfig),
        listen=listen,
        web_config=web_config,
        interval_seconds=interval,
        timeout_seconds=timeout,
        probe_neighbours=probe_neighbours,
        max_peers=max_peers,
        dscp=dscp,
        source_addresses=source_addresses,
        source=source,
        shown=Shown(histograms, detail, worst),
    )
    start_logging(log_level)
    # Imported here: a wrong flag is reported at once, and --help does not need a kernel.
    from monlat_ebpf.agent import run

    return run(config)
