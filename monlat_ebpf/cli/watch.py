"""`monlat watch`: what the agent on this node measures, live."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

import click

from monlat_ebpf.cli.options import setting
from monlat_ebpf.cli.rendering import Table
from monlat_ebpf.cli.screen import as_rich, as_text, fitting
from monlat_ebpf.cli.watch_text import watch_table
from monlat_ebpf.config_text import duration_text, parse_duration, refuse
from monlat_ebpf.errors import AgentUnreachable
from monlat_ebpf.exposition.client import DEFAULT_URLS, ask, ask_this_node

_SHORTEST_INTERVAL: Final = 0.1
_LONGEST_INTERVAL: Final = 3600.0


def _parse_interval(text: str, flag: str) -> float:
    seconds = parse_duration(text, flag)
    if not _SHORTEST_INTERVAL <= seconds <= _LONGEST_INTERVAL:
        shortest, longest = duration_text(_SHORTEST_INTERVAL), duration_text(_LONGEST_INTERVAL)
        refuse(flag, f"{duration_text(seconds)} is out of range; give {shortest} to {longest}")
    return seconds


@click.command("watch")
@setting(
    "--url", metavar="URL", show_default=DEFAULT_URLS[0], help="The agent to ask; without it, the one on this node."
)
@setting("--interval", parse=_parse_interval, metavar="TIME", default="1s", show_default=True, help="How often to ask.")
def command(url: str | None, interval: float) -> None:
    """Show all peers of the agent on this node, until Ctrl-C: RTT, network, the peer's dwell, loss by place.

    In a pipe: one plain table each interval.
    """
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)

    def fetch() -> Table:
        return watch_table(ask(url) if url else ask_this_node())

    table = fetch()  # an agent that never answers is an error; one that stops is waited for
    if sys.stdout.isatty():
        _live(table, fetch, interval, stop)
    else:
        _plain(table, fetch, interval, stop)


def _plain(table: Table, fetch: Callable[[], Table], interval: float, stop: threading.Event) -> None:
    is_away = False
    try:
        sys.stdout.write(as_text(table))
        sys.stdout.flush()
        while not stop.wait(interval):
            try:
                table = fetch()
            except AgentUnreachable as error:
                if not is_away:  # said once, until it is back
                    click.echo(f"monlat: {error}", err=True)
                is_away = True
                continue
            is_away = False
            sys.stdout.write("\n" + as_text(table))
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader has had enough. What Python would flush at its end goes nowhere, without a complaint.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _live(table: Table, fetch: Callable[[], Table], interval: float, stop: threading.Event) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, transient=False) as screen:
        trouble = ""
        while True:
            screen.update(Group(as_rich(fitting(table, console)), Text(trouble, style="bold red")), refresh=True)
            if stop.wait(interval):
                return
            try:
                table, trouble = fetch(), ""
            except AgentUnreachable as error:
                trouble = str(error)
