"""The diagnosis of `monlat collect` with five real agents: what is broken is named soon, and nothing else.

Agents probe five times a second and are asked every second, as in the demo. Time is counted in windows of a second: a
busy machine delays a test, and changes no result. Agents that it starves are named rightly, so those are not looked at.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from monlat_ebpf.cli.demo_cluster import VirtualAgent
from monlat_ebpf.testbed.damage import Damage
from monlat_ebpf.testbed.network import Cluster
from testkit.links import Links
from testkit.running_collector import RunningCollector, running_collector
from testkit.waiting import wait_until

NODES = 5
USUAL_WINDOWS = 8
"""Windows without a fault: a pair counts from its second on, and its usual time is known after four more."""
NAMED_WITHIN = 10
FURTHER_WINDOWS = 5
"""In which nothing else is found: it would be open after two."""
CLOSED_WITHIN = 20
"""Three windows without it, once the last lost probe has ended, and the node has been found by its neighbours."""


@dataclass(frozen=True)
class Bed:
    """Five virtual nodes with agents in one zone, and a collector in the switch between them."""

    cluster: Cluster
    agents: Sequence[VirtualAgent]
    collector: RunningCollector

    def diagnosis(self) -> dict[str, Any]:
        with self.cluster.switch.entered():
            return self.collector.diagnosis()

    @contextmanager
    def slow(self) -> Iterator[None]:
        """All that node3 sends arrives 5 ms later."""
        nodes = self.cluster.nodes
        with Damage(self.cluster, [nodes[2]], [*nodes[:2], *nodes[3:]], delay_seconds=0.005):
            yield

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """node3's agent does not run; its kernel answers."""
        process = self.agents[2].process
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """node3's link is down."""
        with Links(self.cluster["node3"].namespace) as links:
            links.set_up("eth0", up=False)
            try:
                yield
            finally:
                links.set_up("eth0")

    @contextmanager
    def one_way(self) -> Iterator[None]:
        """Nothing that node2 sends arrives at node4; what node4 sends arrives at node2."""
        with Damage(self.cluster, [self.cluster["node2"]], [self.cluster["node4"]], loss=1.0):
            yield


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    directory: Path = tmp_path_factory.mktemp("collector")
    file = directory / "peers.yml"
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(NODES))
        cluster.join_switch()
        file.write_text(
            json.dumps([{"name": node.name, "addresses": [node.ipv4], "zone": "z"} for node in cluster.nodes])
        )
        peers = stack.enter_context(file.open("rb"))
        agents = []
        for node in cluster:
            agents.append(VirtualAgent(node, peers.fileno()))
            stack.callback(agents[-1].close)
        collector = stack.enter_context(
            running_collector(
                directory,
                *("--peers", str(file), "--collect-interval", "1s", "--collect-timeout", "1s"),
                popen=cluster.switch.popen,
                listen=(),
            )
        )
        yield Bed(cluster, agents, collector)


def elements(document: dict[str, Any]) -> list[tuple[str, ...]]:
    """What is named, but for agents that have too little of this machine's time."""
    return [(each["kind"], *each["names"]) for each in document["diagnoses"] if each["parts"] != ["starved"]]


FAULTS: dict[str, tuple[Callable[[Bed], AbstractContextManager[None]], tuple[str, ...], list[str], set[str]]] = {
    "slow": (Bed.slow, ("node", "node3"), [], {"slow"}),
    "stopped": (Bed.stopped, ("agent", "node3"), ["silent"], {"no_answer"}),
    "cut": (Bed.cut, ("node", "node3"), [], {"loss"}),
    "one-way": (Bed.one_way, ("pair", "node2", "node4"), ["forward"], {"loss"}),
}
"""Each fault with the element, the parts of it that are known, and the symptoms."""


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_broken_is_named_within_ten_windows_and_nothing_else(bed: Bed, fault: str) -> None:
    """And it closes when it works again."""
    breaking, element, parts, symptoms = FAULTS[fault]
    start = bed.diagnosis()["window"]
    wait_until(lambda: bed.diagnosis()["window"] >= start + USUAL_WINDOWS, pause=0.1)
    assert elements(bed.diagnosis()) == []
    with breaking(bed):
        broken = bed.diagnosis()["window"]
        wait_until(lambda: elements(bed.diagnosis()), f"{fault} was not named", pause=0.1)
        found = bed.diagnosis()
        assert elements(found) == [element]
        assert found["window"] <= broken + NAMED_WITHIN
        (named,) = (each for each in found["diagnoses"] if each["parts"] != ["starved"])
        assert named["parts"] == parts
        assert {each["symptom"] for each in named["evidence"]} == symptoms
        while (document := bed.diagnosis())["window"] < found["window"] + FURTHER_WINDOWS:
            assert elements(document) == [element]
    repaired = bed.diagnosis()["window"]
    wait_until(lambda: not elements(bed.diagnosis()), f"{fault} did not close", pause=0.1)
    assert bed.diagnosis()["window"] <= repaired + CLOSED_WITHIN
