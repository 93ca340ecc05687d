"""What `monlat demo --fault` breaks, really: packets between virtual nodes, or the time that an agent gets."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import click

from monlat_ebpf.cli.demo_cluster import Demo
from monlat_ebpf.testbed.damage import Damage
from monlat_ebpf.testbed.network import Node

DELAY_SECONDS: Final = 0.005
LOSS: Final = 0.2
STOPPED_SECONDS: Final = 0.7
RUNNING_SECONDS: Final = 0.3
"""An agent that probes every 200 ms misses three of five probes."""

FEWEST_IN_ZONE: Final = 2
"""With one node in a zone, what is between the zones cannot be told from that node."""


class Fault(StrEnum):
    """What can be broken: a node's sending, a pair in one direction, all between two zones, a link, an agent's CPU."""

    NODE = "node"
    PAIR = "pair"
    ZONE = "zone"
    LOSS = "loss"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Breakage:
    """What was broken, as a sentence. It lasts as long as `damage`, which is entered to begin it."""

    text: str
    damage: AbstractContextManager[object]


def check_size(fault: Fault, nodes: int, zones: int) -> None:
    """Raise UsageError if a cluster of this size cannot show the fault."""
    if fault is not Fault.CPU and nodes < 3:
        raise click.UsageError(f"--fault {fault} needs 3 nodes or more: of two nodes, none can be told from the other")
    if fault is Fault.ZONE and (zones < 2 or nodes < zones * FEWEST_IN_ZONE):
        raise click.UsageError(
            f"--fault zone needs two zones or more with {FEWEST_IN_ZONE} nodes each, for example --nodes 6 --zones 3"
        )


def breakage(fault: Fault, demo: Demo) -> Breakage:
    """Return what `fault` breaks in the running demo: always node2, its way from node1, or the first two zones."""
    nodes = [agent.node for agent in demo.agents]
    first, second = nodes[:2]
    others = [node for node in nodes if node is not second]
    match fault:
        case Fault.NODE:
            return _slow(demo, f"all packets that {second.name} sends", [second], others)
        case Fault.PAIR:
            lost = Damage(demo.cluster, [first], [second], loss=1.0)
            return Breakage(f"no packet from {first.name} reaches {second.name}; the way back works", lost)
        case Fault.ZONE:
            one, other = sorted(set(demo.zones.values()))[:2]
            text = f"all packets from zone {one} to zone {other}"
            return _slow(demo, text, _of_zone(demo, nodes, one), _of_zone(demo, nodes, other))
        case Fault.LOSS:
            lossy = Damage(demo.cluster, [second], others, loss=LOSS)
            return Breakage(f"{LOSS:.0%} of the packets that {second.name} sends are lost", lossy)
        case Fault.CPU:
            text = f"the agent of {second.name} is stopped for {STOPPED_SECONDS:g} s of every second; its node works"
            return Breakage(text, Starvation(demo.agents[1].process))


def _slow(demo: Demo, what: str, senders: Sequence[Node], receivers: Sequence[Node]) -> Breakage:
    damage = Damage(demo.cluster, senders, receivers, delay_seconds=DELAY_SECONDS)
    return Breakage(f"{what} arrive {1e3 * DELAY_SECONDS:g} ms later", damage)


def _of_zone(demo: Demo, nodes: Sequence[Node], zone: str) -> list[Node]:
    return [node for node in nodes if demo.zones[node.name] == zone]


class Starvation:
    """Stops a process most of the time, as a limit on its CPU does. A context manager: afterwards the process runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="starvation", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        is_over = False
        while not is_over:
            self._process.send_signal(signal.SIGSTOP)  # send_signal does nothing to a process that has ended
            is_over = self._ended.wait(STOPPED_SECONDS)
            self._process.send_signal(signal.SIGCONT)
            is_over = is_over or self._ended.wait(RUNNING_SECONDS)
