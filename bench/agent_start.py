"""How an agent starts: when it has its first RTT and its last peer's, and what it and its loader have run by then."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.many_peers import PORT, Bed, resident, running_agent
from monlat_ebpf.errors import AgentUnreachable
from monlat_ebpf.exposition import client
from monlat_ebpf.exposition.api import PairDocument
from monlat_ebpf.testbed.network import Node
from testkit.waiting import wait_until


@dataclass(frozen=True)
class Start:
    """Seconds from the start of the process to the first peer's RTT and to the last one's; `processor` to the first.

    `resident` is the memory after that, in MiB, of which `private` is the process's alone.
    """

    first: float
    last: float
    processor: float
    resident: float
    private: float


def start(bed: Bed, peers: int) -> Start:
    """Start an agent, wait until every peer has been measured, and end it."""
    begin = time.monotonic()
    with running_agent(bed.here, peers) as process:
        _wait_until_measured(bed.here, any, "no peer is measured")
        first, processor = time.monotonic() - begin, _processor_seconds(process)
        _wait_until_measured(bed.here, all, "some peers are not measured")
        last = time.monotonic() - begin
        return Start(first, last, processor, resident(process), resident(process, "RssAnon"))


def _wait_until_measured(node: Node, how_many: Callable[[list[bool]], bool], failure: str) -> None:
    def is_measured() -> bool:
        answered = [pair["replies"] > 0 for pair in _pairs(node)]
        return bool(answered) and how_many(answered)

    wait_until(is_measured, failure)


def _pairs(node: Node) -> list[PairDocument]:
    """Return what the agent knows of its peers: nothing while it starts."""
    with node.namespace.entered(), suppress(AgentUnreachable):
        return client.ask(f"http://127.0.0.1:{PORT}")["pairs"]
    return []


def _processor_seconds(process: int) -> float:
    """Return the time that `process` and its ended children have had of a processor (proc(5), stat)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
