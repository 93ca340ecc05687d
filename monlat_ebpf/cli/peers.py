"""`monlat peers`: the latency to each peer of one agent."""

from __future__ import annotations

import json

import click

from monlat_ebpf.cli.options import setting
from monlat_ebpf.cli.rendering import peers_table
from monlat_ebpf.cli.screen import show
from monlat_ebpf.exposition.client import DEFAULT_URLS, ask, ask_this_node


@click.command("peers")
@setting(
    "--url",
    metavar="URL",
    show_default=DEFAULT_URLS[0],
    help="URL of the agent to ask. Without it: the agent on this node.",
)
@setting("--json", "as_json", is_flag=True, help="Print the agent's answer at /api/v1/peers as JSON.")
def command(url: str | None, as_json: bool) -> None:
    """Show the latency to each peer that the agent on this node measures."""
    answer = ask(url) if url else ask_this_node()
    if as_json:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        show(peers_table(answer))
