"""`monlat matrix`: one measure of all pairs, from the collector."""

from __future__ import annotations

import json

import click

from monlat_ebpf.cli.asking import collector_options
from monlat_ebpf.cli.cluster import ask_matrix, matrix_of
from monlat_ebpf.cli.live import show, watch_options
from monlat_ebpf.cli.matrix_text import layouts
from monlat_ebpf.cli.options import setting
from monlat_ebpf.cli.rendering import Layout
from monlat_ebpf.cli.screen import terminal_width
from monlat_ebpf.collector.matrix import MEASURES
from monlat_ebpf.exposition.client_access import ClientAccess


@click.command("matrix")
@collector_options
@setting(
    "--measure",
    type=click.Choice(tuple(MEASURES)),
    metavar="NAME",
    default="rtt",
    show_default=True,
    help=f"What to show of each pair (docs/collector.md): {', '.join(MEASURES)}.",
)
@setting("--zones", is_flag=True, help="Show zones x zones even if nodes x nodes fits.")
@watch_options
@setting("--json", "as_json", is_flag=True, help="Print the collector's answer at /api/v1/matrix as JSON.")
def command(
    url: str, access: ClientAccess, measure: str, zones: bool, watch: bool, interval: float, as_json: bool
) -> None:
    """Show one measure of all pairs, from the collector. A row is the node that asks, a column the one that answers.

    What does not fit the terminal is shown as zones x zones, with the worst pairs by name, or as a summary. Marks: lost
    (no reply to the last probe), stale (the agent does not answer), "." (not probed), "?" (this number is not known).
    A pipe gets all nodes; so it does not depend on a terminal's width.
    """

    def fetch() -> tuple[Layout, ...]:
        return layouts(matrix_of(ask_matrix(url, measure, access), url), width=terminal_width(), zones_only=zones)

    def fetch_json() -> str:
        reply = ask_matrix(url, measure, access)
        matrix_of(reply, url)
        return json.dumps(reply.document, ensure_ascii=False) + "\n"

    show(fetch, fetch_json, as_json=as_json, watch=watch, interval=interval)
