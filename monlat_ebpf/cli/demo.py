"""`monlat demo`: virtual nodes on this machine, and the latency between every two of them, live."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any, Final

import click

from monlat_ebpf.cli.demo_cluster import Demo, VirtualAgent
from monlat_ebpf.cli.demo_faults import Fault, check_size
from monlat_ebpf.cli.options import Listen, setting
from monlat_ebpf.cli.rendering import Table, matrix
from monlat_ebpf.cli.screen import as_rich, show, show_fitting
from monlat_ebpf.collector.config import DEFAULT_PORT as COLLECTOR_PORT
from monlat_ebpf.exposition.api import PeersDocument
from monlat_ebpf.host.wake_event import WakeEvent

MOST_NODES: Final = 16
"""Each agent compiles its own kernel program, and all agents share this machine's cores."""

NODES: Final = 3
NODES_SERVED: Final = 6
ZONES_SERVED: Final = 3
"""With two nodes in each of three zones, every fault can be named."""
SECONDS: Final = 30.0

_REFRESH_SECONDS: Final = 0.5


@click.command("demo")
@setting(
    "--nodes",
    type=click.IntRange(2, MOST_NODES),
    show_default=f"{NODES}; {NODES_SERVED} with --serve",
    help="Number of virtual nodes.",
)
@setting(
    "--zones",
    type=click.IntRange(1, MOST_NODES),
    show_default=f"1; {ZONES_SERVED} with --serve",
    help="Number of zones over which the nodes are spread.",
)
@setting(
    "--seconds",
    type=click.FloatRange(min=0),
    show_default=f"{SECONDS:g}; 0 with --serve",
    help="How long to measure. 0: until Ctrl-C.",
)
@setting("--serve", is_flag=True, help="Run a collector, too, and serve its page at the address of --listen.")
@setting(
    "--listen",
    type=Listen(),
    default=f"127.0.0.1:{COLLECTOR_PORT}",
    show_default=True,
    help="Address of the page on this machine. Port 0: any free port.",
)
@setting(
    "--fault",
    type=click.Choice(Fault, case_sensitive=False),
    help="Break this after a while, really, so that the collector names it. node: what node2 sends comes late; pair: "
    "node1 does not reach node2; zone: zone a is far from zone b; loss: node2 loses packets; cpu: the agent of node2 "
    "hardly runs.",
)
@setting(
    "--json", "as_json", is_flag=True, help="Print only the final matrix, as JSON; with --serve, the diagnoses, too."
)
def command(
    nodes: int | None,
    zones: int | None,
    seconds: float | None,
    serve: bool,
    listen: tuple[str, int],
    fault: Fault | None,
    as_json: bool,
) -> None:
    """Run a cluster of virtual nodes, each with an agent. Nothing is left behind at the end."""
    if fault is not None and not serve:
        raise click.UsageError("--fault needs --serve: the collector says what is broken")
    nodes = nodes or (NODES_SERVED if serve else NODES)
    zones = zones or (min(ZONES_SERVED, nodes) if serve else 1)
    seconds = (0.0 if serve else SECONDS) if seconds is None else seconds
    if zones > nodes:
        raise click.UsageError(f"--zones {zones}: there are only {nodes} nodes")
    if fault is not None:
        check_size(fault, nodes, zones)
    stop = WakeEvent()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    _on_signals(signal.default_int_handler)  # during the start: stop at once
    click.echo(f"starting {nodes} virtual nodes", err=True)
    live = sys.stdout.isatty() and not as_json
    with Demo(nodes, zones, listen if serve else None) as demo:
        _on_signals(end)
        if demo.collector is not None:
            _serve(demo, demo.collector.url, fault, _turns(seconds, stop), live=live, as_json=as_json)
            return
        _measure(demo, seconds, stop, live=live)
        answers = demo.final_answers()
        hints = _hints(demo.agents)
    if as_json:
        click.echo(json.dumps(summary(answers), indent=2))
    else:
        show(_matrix(answers))
        click.echo("\nEach node's /metrics, from another terminal while a demo runs (--seconds 0: until Ctrl-C):")
        click.echo("\n".join(hints))


def _serve(demo: Demo, url: str, fault: Fault | None, turns: Iterable[None], *, live: bool, as_json: bool) -> None:
    """Serve the page until the turns end, then show what there was at the end."""
    # Imported here: the demo without a collector does not need it.
    from monlat_ebpf.cli.demo_serving import Serving, serve

    with Serving(demo, url, fault) as serving:
        serve(serving, url, turns, live=live)
        if as_json:
            click.echo(json.dumps(serving.document(), indent=2))
        else:
            show_fitting(serving.layouts(serving.turn()))


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
