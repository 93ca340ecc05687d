"""`monlat watch`: the measurements of one agent, live."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Final

import click

from monlat_ebpf.cli.asking import asking_options
from monlat_ebpf.cli.options import Duration, setting
from monlat_ebpf.cli.rendering import Table
from monlat_ebpf.cli.screen import as_rich, as_text, fitting
from monlat_ebpf.cli.watch_text import watch_table
from monlat_ebpf.errors import AgentUnreachable
from monlat_ebpf.exposition.client import ask, ask_this_node
from monlat_ebpf.exposition.client_access import ClientAccess
from monlat_ebpf.host.wake_event import WakeEvent

_SHORTEST_INTERVAL: Final = 0.1
_LONGEST_INTERVAL: Final = 3600.0


@click.command("watch")
@asking_options
@setting(
    "--interval",
    type=Duration(_SHORTEST_INTERVAL, _LONGEST_INTERVAL),
    default="1s",
    show_default=True,
    help="Time between two requests.",
)
def command(url: str | None, access: ClientAccess, interval: float) -> None:
    """Show all peers of the agent on this node until Ctrl-C: RTT, network RTT, dwell, queueing and losses.

    In a pipe, print one plain table each interval.
    """
    stop = WakeEvent()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)

    def fetch() -> Table:
        return watch_table(ask(url, access=access) if url else ask_this_node(access=access))

    table = fetch()  # an agent missing at the start is an error; later, watch waits for it
    if sys.stdout.isatty():
        _live(table, fetch, interval, stop)
    else:
        _plain(table, fetch, interval, stop)


def _plain(table: Table, fetch: Callable[[], Table], interval: float, stop: WakeEvent) -> None:
    is_missing = False
    try:
        sys.stdout.write(as_text(table))
        sys.stdout.flush()
        while not stop.wait(interval):
            try:
                table = fetch()
            except AgentUnreachable as error:
                if not is_missing:  # reported once, until it is back
                    click.echo(f"monlat: {error}", err=True)
                is_missing = True
                continue
            is_missing = False
            sys.stdout.write("\n" + as_text(table))
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe. What Python flushes at its end goes to /dev/null, without an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _live(table: Table, fetch: Callable[[], Table], interval: float, stop: WakeEvent) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, transient=False) as screen:
        error_text = ""
        while True:
            screen.update(Group(as_rich(fitting(table, console)), Text(error_text, style="bold red")), refresh=True)
            if stop.wait(interval):
                return
            try:
                table, error_text = fetch(), ""
            except AgentUnreachable as error:
                error_text = str(error)
