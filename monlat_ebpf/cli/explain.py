"""`monlat explain`: which parts the time of the last probes to one peer has."""

from __future__ import annotations

import json
from dataclasses import asdict
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import click

from monlat_ebpf.cli import explain_text
from monlat_ebpf.cli.asking import asking_options
from monlat_ebpf.cli.options import setting
from monlat_ebpf.cli.screen import show
from monlat_ebpf.errors import RouteError
from monlat_ebpf.exposition.client import ask_about
from monlat_ebpf.exposition.client_access import ClientAccess
from monlat_ebpf.exposition.peer_detail import ExplainedPairDocument, PeerDocument
from monlat_ebpf.host.addresses import Route, route_to


@click.command("explain")
@click.argument("peer")
@asking_options
@setting(
    "--json",
    "as_json",
    is_flag=True,
    help="Print JSON: the agent's answer, and for each pair the diagnosis and the route.",
)
def command(peer: str, url: str | None, access: ClientAccess, as_json: bool) -> None:
    """Show where the last probes to PEER spent their time: this node, the network or the peer.

    Network and peer are separate only when the peer runs an agent too.
    """
    answer = ask_about(peer, url, access=access)
    here = url is None or is_loopback(url)
    if as_json:
        click.echo(json.dumps(_document(answer, here), indent=2, ensure_ascii=False))
        return
    for number, pair in enumerate(answer["pairs"]):
        if number:
            click.echo()
        _show(answer, pair, here)


def is_loopback(url: str) -> bool:
    """Return True if `url` names this machine, whose routes are then the agent's routes."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _document(answer: PeerDocument, here: bool) -> dict[str, Any]:
    pairs = []
    for pair in answer["pairs"]:
        route = _route(pair) if here else None
        pairs.append(
            {
                **pair,
                "diagnosis": asdict(explain_text.diagnose(answer, pair)),
                "route": asdict(route) if isinstance(route, Route) else None,
                "route_error": route if isinstance(route, str) else "",
            }
        )
    return {**answer, "pairs": pairs}


def _show(answer: PeerDocument, pair: ExplainedPairDocument, here: bool) -> None:
    click.secho(explain_text.heading(answer, pair), bold=True)
    click.echo(explain_text.diagnose(answer, pair).text)
    click.echo()
    show(explain_text.waterfall(pair["probes"]))
    click.echo(explain_text.LEGEND)
    click.echo()
    show(explain_text.spread(answer, pair))
    click.echo()
    route = str(_route(pair)) if here else "known only on the agent's node; run this command there"
    for line in explain_text.notes(pair, route):
        click.echo(line)


def _route(pair: ExplainedPairDocument) -> Route | str:
    """Return the route, or the reason why there is none."""
    try:
        return route_to(ip_address(pair["address"]))
    except RouteError as error:
        return str(error)
