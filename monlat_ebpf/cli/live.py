"""Show something again and again until a signal: drawn anew in a terminal, one after the other in a pipe."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import click

from monlat_ebpf.cli.options import Duration, setting
from monlat_ebpf.cli.rendering import Layout
from monlat_ebpf.cli.screen import first_fitting, layout_as_rich, layout_as_text, show_fitting
from monlat_ebpf.errors import Unreachable
from monlat_ebpf.host.wake_event import WakeEvent

SHORTEST_INTERVAL: Final = 0.1
LONGEST_INTERVAL: Final = 3600.0

Fetch = Callable[[], tuple[Layout, ...]]
"""Asks, and returns what to show: the first of these layouts in a pipe, the first that fits in a terminal."""


def watch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --watch and --interval; pass `watch` and `interval` to `command`."""
    watch = setting("--watch", is_flag=True, help="Ask again and again until Ctrl-C; in a pipe, one after the other.")
    interval = setting(
        "--interval",
        type=Duration(SHORTEST_INTERVAL, LONGEST_INTERVAL),
        default="2s",
        show_default=True,
        help="Time between two requests of --watch.",
    )
    decorated: Callable[..., Any] = watch(interval(command))
    return decorated


def until_signal() -> WakeEvent:
    """Return what SIGINT, SIGTERM and SIGHUP set from now on."""
    stop = WakeEvent()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    return stop


def show(fetch: Fetch, fetch_json: Callable[[], str], *, as_json: bool, watch: bool, interval: float) -> None:
    """Show once, or with `watch` again and again, what `fetch` returns, or the line that `fetch_json` returns."""
    if as_json and watch:
        in_pipe(fetch_json(), fetch_json, interval, until_signal())
    elif as_json:
        click.echo(fetch_json(), nl=False)
    elif watch:
        follow(fetch, interval, until_signal())
    else:
        show_fitting(fetch())


def follow(fetch: Fetch, interval: float, stop: WakeEvent) -> None:
    """Fetch and show every `interval` seconds until `stop` is set.

    If nobody answers at the start, raise that error; later, report it, and go on.
    """
    layouts = fetch()
    if sys.stdout.isatty():
        _in_terminal(layouts, fetch, interval, stop)
    else:
        in_pipe(layout_as_text(layouts[0]), lambda: "\n" + layout_as_text(fetch()[0]), interval, stop)


def in_pipe(text: str, fetch: Callable[[], str], interval: float, stop: WakeEvent) -> None:
    """Write `text`, then what `fetch` returns, every `interval` seconds until `stop` is set or the reader goes away."""
    is_missing = False
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
        while not stop.wait(interval):
            try:
                text = fetch()
            except Unreachable as error:
                if not is_missing:  # reported once, until it is back
                    click.echo(f"monlat: {error}", err=True)
                is_missing = True
                continue
            is_missing = False
            sys.stdout.write(text)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe. What Python flushes at its end goes to /dev/null, without an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _in_terminal(layouts: tuple[Layout, ...], fetch: Fetch, interval: float, stop: WakeEvent) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, transient=False) as screen:
        error_text = ""
        while True:
            drawn = layout_as_rich(first_fitting(layouts, console))
            screen.update(Group(drawn, Text(error_text, style="bold red")), refresh=True)
            if stop.wait(interval):
                return
            try:
                layouts, error_text = fetch(), ""
            except Unreachable as error:
                error_text = str(error)
