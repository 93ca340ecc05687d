"""`monlat peers`: the latency to each peer of one agent."""

from __future__ import annotations

import json

import click

from monlat_ebpf.cli.asking import asking_options
from monlat_ebpf.cli.options import setting
from monlat_ebpf.cli.rendering import peers_table
from monlat_ebpf.cli.screen import show
from monlat_ebpf.exposition.client import ask, ask_this_node
from monlat_ebpf.exposition.client_access import ClientAccess


@click.command("peers")
@asking_options
@setting("--json", "as_json", is_flag=True, help="Print the agent's answer at /api/v1/peers as JSON.")
def command(url: str | None, access: ClientAccess, as_json: bool) -> None:
    """Show the latency to each peer that the agent on this node measures."""
    answer = ask(url, access=access) if url else ask_this_node(access=access)
    if as_json:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        show(peers_table(answer))
