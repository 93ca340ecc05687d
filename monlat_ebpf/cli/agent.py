"""`monlat agent`: the process that runs on every node."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import click

from monlat_ebpf.cli.log import start_logging
from monlat_ebpf.cli.options import setting
from monlat_ebpf.config import AgentConfig, DiscoveryKind
from monlat_ebpf.config_text import parse_choice, parse_count, parse_duration, parse_listen
from monlat_ebpf.discovery.kubernetes_config import KubernetesConfig
from monlat_ebpf.sources import SourceChoice

_LOG_LEVELS = ("debug", "info", "warning", "error")


@click.command("agent")
@setting(
    "--node-name",
    metavar="NAME",
    default=socket.gethostname,
    show_default="the host's name",
    help="This node's name: the label `from`, and the entry of a shared peers file that is this node.",
)
@setting("--zone", metavar="NAME", default="", help="This node's zone: the label `from_zone`.")
@setting(
    "--discovery",
    parse=partial(parse_choice, choices=DiscoveryKind),
    metavar="|".join(DiscoveryKind),
    default="static",
    show_default=True,
    help="Where the list of peers comes from.",
)
@setting(
    "--peers",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Peers file of static discovery (YAML); followed as it changes.",
)
@setting(
    "--namespace", metavar="NAME", default="", help="Namespace of the Service that lists the agents; else its own."
)
@setting(
    "--service",
    metavar="NAME",
    default="monlat-agents",
    show_default=True,
    help="The headless Service whose endpoints are the agents.",
)
@setting("--kubeconfig", metavar="FILE", default="", help="Kubernetes from outside a cluster: the kubeconfig to use.")
@setting(
    "--listen",
    parse=parse_listen,
    metavar="HOST:PORT",
    default="[::]:10045",
    show_default=True,
    help="Where /metrics and the rest are served; [::] serves IPv4 as well.",
)
@setting(
    "--interval",
    parse=parse_duration,
    metavar="DURATION",
    default="1s",
    show_default=True,
    help="Time from one probe of an address to the next.",
)
@setting(
    "--timeout",
    parse=parse_duration,
    metavar="DURATION",
    default="1s",
    show_default=True,
    help="A probe without a reply after this time is lost.",
)
@setting(
    "--max-peers",
    parse=parse_count,
    metavar="N",
    default="1000",
    show_default=True,
    help="Refuse a list of more peers than this.",
)
@setting(
    "--source",
    parse=partial(parse_choice, choices=SourceChoice),
    metavar="|".join(SourceChoice),
    default="auto",
    show_default=True,
    help="Who stamps the packets; auto takes the best that this machine allows.",
)
@setting(
    "--log-level",
    type=click.Choice(_LOG_LEVELS),
    default="info",
    show_default=True,
    help="Log records of this level and above, on standard error.",
)
def command(
    node_name: str,
    zone: str,
    discovery: DiscoveryKind,
    peers: Path | None,
    namespace: str,
    service: str,
    kubeconfig: str,
    listen: tuple[str, int],
    interval: float,
    timeout: float,
    max_peers: int,
    source: SourceChoice,
    log_level: str,
) -> int:
    """Probe the peers, and serve what was measured at /metrics and /api/v1/peers."""
    config = AgentConfig(
        node_name=node_name,
        zone=zone,
        discovery=discovery,
        peers_file=peers,
        kubernetes=KubernetesConfig(namespace=namespace, service=service, kubeconfig=kubeconfig),
        listen_host=listen[0],
        listen_port=listen[1],
        interval_seconds=interval,
        timeout_seconds=timeout,
        max_peers=max_peers,
        source=source,
    )
    start_logging(log_level)
    # Imported here, so that a wrong flag is told at once and --help needs no kernel.
    from monlat_ebpf.agent import run

    return run(config)
