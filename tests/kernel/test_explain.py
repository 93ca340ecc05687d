"""`monlat explain` and `watch` with real agents at both ends and a router between them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from monlat_ebpf.testbed.namespace import Namespace
from monlat_ebpf.testbed.network import Node
from testkit.links import Links
from testkit.waiting import wait_until
from tests.kernel.agents import PORT, RunningAgent, entry
from tests.kernel.full_queue import full_queue

PROGRAM = (sys.executable, "-m", "monlat_ebpf")
URL = f"http://127.0.0.1:{PORT}"
WARM_UP = 61  # exchanges before a part is made slow, so that its usual times stay short for as many
WARM_UP_INTERVAL = "200ms"  # with WARM_UP and one_way.WINDOW: 12 s in which a loaded machine can detect the slow part
ANSWERS = 5
PARTS = {"send_delay": "send_delay_seconds", "network": "network_rtt_seconds", "dwell": "peer_dwell_seconds"}


@dataclass(frozen=True)
class Bed:
    """node1 (10.78.1.1) and node2 (10.78.2.1), each with its own wire to the router (.254)."""

    node1: Node
    node2: Node
    router1: Node
    router2: Node

    def explain(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.node1.namespace.run([*PROGRAM, "explain", "node2", "--url", URL, *arguments])

    def explained(self) -> dict[str, Any]:
        """Return the only pair of `explain --json`."""
        done = self.explain("--json")
        assert (done.returncode, done.stderr) == (0, "")
        (pair,) = json.loads(done.stdout)["pairs"]
        assert isinstance(pair, dict)
        return pair


@contextmanager
def built_bed(directory: Path, exchanges: int, interval: str) -> Iterator[Bed]:
    """Yield a bed in which both agents have measured so many exchanges."""
    with ExitStack() as stack:
        here, middle, there = (stack.enter_context(Namespace(name)) for name in ("node1", "router", "node2"))
        middle.sysctl("net.ipv4.ip_forward", 1)
        built = Bed(
            node1=Node("node1", here, "10.78.1.1", ""),
            node2=Node("node2", there, "10.78.2.1", ""),
            router1=Node("router", middle, "10.78.1.254", "", "to1"),
            router2=Node("router", middle, "10.78.2.254", "", "to2"),
        )
        _connect(built.node1, built.router1)
        _connect(built.node2, built.router2)
        peers = {"node1": entry("node2", "10.78.2.1"), "node2": entry("node1", "10.78.1.1")}
        agents = [
            stack.enter_context(
                RunningAgent(node.namespace, directory, [peers[node.name]], node=node.name, interval=interval)
            )
            for node in (built.node1, built.node2)
        ]
        for agent in agents:
            agent.wait_for_scrape(
                lambda scrape: (
                    scrape.total("monlat_network_rtt_seconds_count") >= exchanges
                    and scrape.has("monlat_clock_offset_seconds")
                )
            )
        yield built


def _connect(node: Node, router: Node) -> None:
    """Connect the node to the router, which becomes its default route."""
    with Links(router.namespace) as far, Links(node.namespace) as near:
        far.add_veth(router.device, node.namespace, node.device)
        for links, end in ((far, router), (near, node)):
            links.add_address(end.device, f"{end.ipv4}/24")
            links.set_up(end.device)
        for links, end in ((far, router), (near, node)):
            links.wait_until_usable(end.device, [end.ipv4])
        near.add_route("0.0.0.0/0", gateway=router.ipv4)


@pytest.fixture
def fresh_bed(tmp_path: Path) -> Iterator[Bed]:
    """For one test, which disturbs it."""
    with built_bed(tmp_path, WARM_UP, WARM_UP_INTERVAL) as built:
        yield built


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """For all tests that do not change it."""
    with built_bed(tmp_path_factory.mktemp("bed"), 17, "50ms") as built:
        yield built


CAUSES: dict[str, tuple[Callable[[Bed], tuple[Node, Node]], str]] = {
    "send_delay": (lambda bed: (bed.node1, bed.router1), "a queue on this node"),
    "network": (lambda bed: (bed.router2, bed.node2), "a slow network"),
    "dwell": (lambda bed: (bed.node2, bed.router2), "a slow peer"),
}
"""The queue to fill, given as the node that sends and the one that receives, and the words of the diagnosis."""


@pytest.mark.parametrize("cause", CAUSES)
def test_slow_part_is_named(fresh_bed: Bed, cause: str) -> None:
    """A queue of 90 ms on the sender, in the network or at the peer: that part rose and is the largest, 5 times."""
    ends, phrase = CAUSES[cause]
    answers: list[dict[str, Any]] = []

    def is_slow() -> bool:
        answers[:] = [fresh_bed.explained()]
        return middle(answers[0], cause) > 0.050

    with full_queue(*ends(fresh_bed)):
        wait_until(is_slow, seconds=60)
        answers += [fresh_bed.explained() for _ in range(ANSWERS - 1)]
    first = answers[0]["diagnosis"]
    assert first["risen"] == cause
    assert phrase in first["text"]
    assert ("Packets wait in queues on the way to the peer" in first["text"]) == (cause == "network")
    for pair in answers:
        assert pair["diagnosis"]["largest"] == cause, pair
        for other in PARTS.keys() - {cause}:
            assert middle(pair, other) < middle(pair, cause) / 5, (other, pair)


def middle(pair: dict[str, Any], part: str) -> float:
    """Return the median of a part over the probes that have it, in seconds."""
    known: list[float] = [probe[PARTS[part]] for probe in pair["probes"] if probe[PARTS[part]] is not None]
    return median(known)


def test_parts_of_a_probe_add_up(bed: Bed) -> None:
    """For each of at least 11 reported probes, forward + dwell + return = RTT to the nanosecond."""
    pair: dict[str, Any] = {}
    reported: list[dict[str, Any]] = []

    def has_eleven_reported() -> bool:
        pair.update(bed.explained())
        reported[:] = [probe for probe in pair["probes"] if probe["peer_dwell_seconds"] is not None]
        return len(reported) > 10

    wait_until(has_eleven_reported, seconds=60)  # on a loaded machine, reports come late
    assert len(pair["probes"]) in (15, 16)  # one may be in flight
    for probe in reported:
        parts = probe["forward_seconds"] + probe["peer_dwell_seconds"] + probe["return_seconds"]
        assert parts == pytest.approx(probe["rtt_seconds"], abs=0.5e-9, rel=0)
        network_and_dwell = probe["network_rtt_seconds"] + probe["peer_dwell_seconds"]
        assert network_and_dwell == pytest.approx(probe["rtt_seconds"], abs=0.5e-9, rel=0)
    assert [probe["sequence"] for probe in pair["probes"]] == sorted(probe["sequence"] for probe in pair["probes"])


def test_pipe_gets_waterfall_spread_route_and_clock(bed: Bed) -> None:
    """Plain text: heading, diagnosis, a bar for each probe, the spread, losses, the route by the router, the clock."""
    done = bed.explain()
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "node1 to node2: 10.78.2.1, by eth0, source tracepoint"
    assert lines[1].startswith("The largest part is the ")
    bars = [line.split()[-1] for line in lines if " reply " in line]
    assert len(bars) in (15, 16)
    assert all(set(bar) <= set("sfdrn") for bar in bars)
    assert "route: via 10.78.1.254 dev eth0 src 10.78.1.1; handed to the driver of eth0" in lines
    assert any(line.startswith("clock of node2: ") for line in lines)
    assert any(line.startswith("  network RTT ") for line in lines)


def test_unknown_peer_is_an_error(bed: Bed) -> None:
    """The error names the measured peers; exit status 2."""
    done = bed.node1.namespace.run([*PROGRAM, "explain", "node9", "--url", URL])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "monlat: node node1 does not measure a peer 'node9'; it measures node2\n"


def test_watch_prints_a_table_each_interval_until_a_signal(bed: Bed) -> None:
    """Three tables at intervals of 0.1 s, each with network RTT and dwell; Ctrl-C ends it with status 0."""
    watch = bed.node1.namespace.popen(
        [*PROGRAM, "watch", "--url", URL, "--interval", "100ms"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert watch.stdout is not None
        tables = [[watch.stdout.readline() for _ in range(4 if number else 3)][-3:] for number in range(3)]
        watch.send_signal(signal.SIGINT)
        assert watch.wait(timeout=20) == 0
    finally:
        watch.kill()
        watch.communicate()
    for title, head, row in tables:
        assert title.startswith("node node1, source tracepoint")
        assert head.split()[:9] == ["TO", "FAMILY", "RTT", "P50", "P99", "NETWORK", "P50", "P99", "DWELL"]
        assert row.split()[:2] == ["node2", "ipv4"]
        assert "-" not in row.split()


def test_missing_route_shows_its_reason(bed: Bed) -> None:
    """Without node1's default route, explain gives the reason and still shows the last probes."""
    with Links(bed.node1.namespace) as links:
        links.delete_route("0.0.0.0/0", gateway="10.78.1.254")
        try:
            wait_until(lambda: bed.explained()["diagnosis"]["lost_mostly"] == "send_error", seconds=60)
            pair = bed.explained()
        finally:
            links.add_route("0.0.0.0/0", gateway="10.78.1.254")
    assert pair["route"] is None
    assert pair["route_error"].startswith("no route to 10.78.2.1: Network is unreachable. Look at")
    assert "not sent: the system call failed" in pair["diagnosis"]["text"]
