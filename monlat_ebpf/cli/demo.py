"""`monlat demo`: virtual nodes on this machine, and the latency between every two of them, live."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Final

import click

from monlat_ebpf.cli.demo_cluster import Demo, VirtualAgent
from monlat_ebpf.cli.options import setting
from monlat_ebpf.cli.rendering import Table, matrix
from monlat_ebpf.cli.screen import as_rich, show
from monlat_ebpf.exposition.api import PeersDocument
from monlat_ebpf.host.wake_event import WakeEvent

MOST_NODES: Final = 16
"""Each agent compiles its own kernel program, and all agents share this machine's cores."""

_REFRESH_SECONDS: Final = 0.5


@click.command("demo")
@setting("--nodes", type=click.IntRange(2, MOST_NODES), default=3, show_default=True, help="Number of virtual nodes.")
@setting(
    "--seconds",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="How long to measure. 0: until Ctrl-C.",
)
@setting("--json", "as_json", is_flag=True, help="Print only the final matrix, as JSON.")
def command(nodes: int, seconds: float, as_json: bool) -> None:
    """Run a cluster of virtual nodes, each with an agent. Nothing is left behind at the end."""
    stop = WakeEvent()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    _on_signals(signal.default_int_handler)  # during the start: stop at once
    click.echo(f"starting {nodes} virtual nodes", err=True)
    with Demo(nodes) as demo:
        _on_signals(end)
        _measure(demo, seconds, stop, live=sys.stdout.isatty() and not as_json)
        answers = demo.final_answers()
        hints = _hints(demo.agents)
    if as_json:
        click.echo(json.dumps(summary(answers), indent=2))
    else:
        show(_matrix(answers))
        click.echo("\nEach node's /metrics, from another terminal while a demo runs (--seconds 0: until Ctrl-C):")
        click.echo("\n".join(hints))


def summary(answers: Sequence[PeersDocument]) -> dict[str, Any]:
    """Return the document of --json: the matrix of all agents' answers."""
    sources = sorted({answer["source"] for answer in answers})
    wanted = ("from", "to", "family", "sent", "replies", "lost", "rtt_seconds")
    return {
        "source": ", ".join(sources),
        "nodes": [answer["node"] for answer in answers],
        "pairs": [{key: pair[key] for key in wanted} for answer in answers for pair in answer["pairs"]],  # type: ignore[literal-required]  # all are keys of PairDocument
    }


def _on_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _measure(demo: Demo, seconds: float, stop: WakeEvent, *, live: bool) -> None:
    if not live:
        click.echo(
            "\n".join(("each node's /metrics, from another terminal while this runs:", *_hints(demo.agents))), err=True
        )
        for _ in _turns(seconds, stop):
            for agent in demo.agents:
                agent.check()
        return
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    hints = Text("\n".join(("Each node's /metrics, from another terminal:", *_hints(demo.agents))), style="dim")
    with Live(auto_refresh=False, screen=False, transient=True) as screen:
        for _ in _turns(seconds, stop):
            screen.update(Group(as_rich(_matrix(demo.answers())), hints), refresh=True)


def _turns(seconds: float, stop: WakeEvent) -> Iterator[None]:
    """Yield every `_REFRESH_SECONDS` until `seconds` (0: no limit) have passed or `stop` is set."""
    end = time.monotonic() + seconds if seconds else float("inf")
    while not stop.is_set() and (left := end - time.monotonic()) > 0:
        yield
        stop.wait(min(_REFRESH_SECONDS, left))


def _matrix(answers: Sequence[PeersDocument]) -> Table:
    return matrix([pair for answer in answers for pair in answer["pairs"]])


def _hints(agents: Sequence[VirtualAgent]) -> list[str]:
    return [f"  {agent.node.name}:  sudo {agent.metrics_command}" for agent in agents]
