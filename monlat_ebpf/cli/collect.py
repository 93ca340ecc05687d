"""`monlat collect`: the whole matrix, from the answers of all agents."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import click

from monlat_ebpf.cli.asking import access_options
from monlat_ebpf.cli.log import start_logging
from monlat_ebpf.cli.options import Duration, Listen, setting
from monlat_ebpf.collector.config import CollectorConfig, Scheme
from monlat_ebpf.config import DiscoveryKind, KubernetesConfig
from monlat_ebpf.config_text import duration_text
from monlat_ebpf.exposition.client_access import ClientAccess

_LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_DEFAULT: Final[dict[str, Any]] = {field.name: field.default for field in fields(CollectorConfig)}
_KUBERNETES_DEFAULT: Final[dict[str, Any]] = {field.name: field.default for field in fields(KubernetesConfig)}
_MIB: Final = 1024 * 1024


@click.command("collect")
@setting(
    "--discovery",
    type=click.Choice(DiscoveryKind, case_sensitive=False),
    default=_DEFAULT["discovery"].value,
    show_default=True,
    help="Where the list of agents comes from.",
)
@setting(
    "--peers",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The agents' peers file (YAML), for static discovery. The collector reads it again when it changes.",
)
@setting(
    "--namespace",
    metavar="NAME",
    default=_KUBERNETES_DEFAULT["namespace"],
    help="Namespace of the Service that lists the agents. Without it: the collector's own namespace.",
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
    help="Kubeconfig of a collector that runs outside the cluster.",
)
@setting(
    "--listen",
    type=Listen(),
    multiple=True,
    default=[f"[{host}]:{port}" for host, port in _DEFAULT["listen"]],
    show_default=True,
    help="Address of the page and of the other paths; may be given several times. [::] also serves IPv4.",
)
@setting(
    "--web-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TLS, passwords and headers of the page and of the other paths, as for the agent.",
)
@setting(
    "--agent-port",
    type=click.IntRange(1, 65_535),
    metavar="PORT",
    default=_DEFAULT["agent_port"],
    show_default=True,
    help="Port on which every agent listens.",
)
@setting(
    "--agent-scheme",
    type=click.Choice(Scheme, case_sensitive=False),
    default=_DEFAULT["agent_scheme"].value,
    show_default=True,
    help="https: the agents have TLS.",
)
@setting(
    "--agent-server-name",
    metavar="NAME",
    default=_DEFAULT["agent_server_name"],
    show_default=True,
    help="Name that the agents' certificate must have.",
)
@access_options("an agent")
@setting(
    "--collect-interval",
    type=Duration(),
    default=duration_text(_DEFAULT["interval_seconds"]),
    show_default=True,
    help="Time between two questions to an agent.",
)
@setting(
    "--collect-timeout",
    type=Duration(),
    default=duration_text(_DEFAULT["timeout_seconds"]),
    show_default=True,
    help="An agent that has not begun to answer after this time, or not ended after it again, has failed.",
)
@setting(
    "--history-mib",
    type=click.IntRange(1, 4096),
    metavar="N",
    default=_DEFAULT["history_bytes"] // _MIB,
    show_default=True,
    help="Memory in MiB for the history of all pairs together.",
)
@setting(
    "--log-level",
    type=click.Choice(_LOG_LEVELS),
    default="info",
    show_default=True,
    help="Write log records of this level and above to standard error.",
)
def command(
    discovery: DiscoveryKind,
    peers: Path | None,
    namespace: str,
    service: str,
    kubeconfig: str,
    listen: tuple[tuple[str, int], ...],
    web_config: Path | None,
    agent_port: int,
    agent_scheme: Scheme,
    agent_server_name: str,
    access: ClientAccess,
    collect_interval: float,
    collect_timeout: float,
    history_mib: int,
    log_level: str,
) -> int:
    """Ask all agents, and serve the whole matrix: a page, /metrics, /api/v1/matrix and /api/v1/pair."""
    config = CollectorConfig(
        discovery=discovery,
        peers_file=peers,
        kubernetes=KubernetesConfig(namespace=namespace, service=service, kubeconfig=kubeconfig),
        listen=listen,
        web_config=web_config,
        agent_port=agent_port,
        agent_scheme=agent_scheme,
        agent_server_name=agent_server_name,
        access=access,
        interval_seconds=collect_interval,
        timeout_seconds=collect_timeout,
        history_bytes=history_mib * _MIB,
    )
    start_logging(log_level)
    # Imported here: a wrong flag is reported at once.
    from monlat_ebpf.collector.collector import run

    return run(config)
