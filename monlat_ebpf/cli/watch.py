"""`monlat watch`: the measurements of one agent, live."""

from __future__ import annotations

import click

from monlat_ebpf.cli.asking import asking_options
from monlat_ebpf.cli.live import LONGEST_INTERVAL, SHORTEST_INTERVAL, follow, until_signal
from monlat_ebpf.cli.options import Duration, setting
from monlat_ebpf.cli.rendering import Layout, narrowed
from monlat_ebpf.cli.watch_text import watch_table
from monlat_ebpf.exposition.client import ask, ask_this_node
from monlat_ebpf.exposition.client_access import ClientAccess


@click.command("watch")
@asking_options
@setting(
    "--interval",
    type=Duration(SHORTEST_INTERVAL, LONGEST_INTERVAL),
    default="1s",
    show_default=True,
    help="Time between two requests.",
)
def command(url: str | None, access: ClientAccess, interval: float) -> None:
    """Show all peers of the agent on this node until Ctrl-C: RTT, network RTT, dwell, queueing and losses.

    In a pipe, print one plain table each interval.
    """

    def fetch() -> tuple[Layout, ...]:
        answer = ask(url, access=access) if url else ask_this_node(access=access)
        return tuple((table,) for table in narrowed(watch_table(answer)))

    follow(fetch, interval, until_signal())
