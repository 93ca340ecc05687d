"""A node's power is cut, and comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real_cluster.agents import LATENCY, Agents, label_values, value, wait
from tests.real_cluster.collector import Collector
from tests.real_cluster.installing import Installer
from tests.real_cluster.own_cluster import OwnCluster

pytestmark = [pytest.mark.own_cluster("cuts a node's power"), pytest.mark.timeout(600)]

RESULTS = "monlat_probe_results_total"
WINDOWS = 3  # two in a row open a diagnosis


def lost(agents: Agents, node: str, peer: str) -> float:
    """The probes of an agent to a peer that had another result than `reply`."""
    text = agents.metrics(node)
    return value(text, RESULTS, to=peer) - value(text, RESULTS, to=peer, result="reply")


def answers(agents: Agents, node: str, peer: str) -> bool:
    return peer in label_values(agents.metrics(node), LATENCY, "to")


def unreachable(agents: Agents, node: str, peer: str) -> float:
    return value(agents.metrics(node), RESULTS, to=peer, result="unreachable")


@pytest.fixture
def collected(installer: Installer, installed: Agents, nodes: list[str]) -> Iterator[Collector]:
    """A collector beside the agents; it is gone again afterwards."""
    installer.apply(components=["collector"])
    collector = Collector(installed.api)
    collector.wait()
    yield collector
    installed.api.run("delete", "deployment,service", "monlat", "--namespace", installed.namespace)


def test_power_cut_and_return(installed: Agents, collected: Collector, own: OwnCluster, nodes: list[str]) -> None:
    """The others keep the dead node as a peer that does not answer, blame no host for it, and measure it again.

    The collector names that node and nothing else, from the cut until the return.
    """
    dead = next(node for node in reversed(nodes) if node not in collected.nodes())
    one, other = others = [node for node in nodes if node != dead]
    blamed = {node: value(installed.metrics(node), RESULTS, to=dead, result="lost_host") for node in others}
    before = {(a, b): lost(installed, a, b) for a, b in ((one, other), (other, one))}
    wait(lambda: collected.diagnosis()["window"] >= WINDOWS, "no window is decided")
    # a node that an earlier test has removed stays in the list for a minute
    wait(lambda: collected.broken() == set(), lambda: f"broken before the cut: {collected.diagnosis()}")
    number = int(dead.removeprefix("node"))
    own.cut_power(number)
    try:
        wait(lambda: all(not answers(installed, node, dead) for node in others), "the dead node still answers")
        wait(lambda: collected.broken() == {("node", (dead,))}, lambda: f"another name: {collected.diagnosis()}")
        # until ARP's entry expires its probes are lost; after that nobody has its address
        wait(lambda: all(unreachable(installed, node, dead) for node in others), "nobody reports it unreachable", 150)
        assert collected.broken() == {("node", (dead,))}
        for node in others:
            text = installed.metrics(node)
            assert value(text, RESULTS, to=dead, result="lost_host") == blamed[node]
            assert value(text, "monlat_probe_errors_total", kind="no_neighbour") > 0
            assert value(text, "monlat_peers") == len(nodes) - 1
    finally:
        own.start_node(number)
    installed.wait_complete(nodes)
    assert {(a, b): lost(installed, a, b) for a, b in before} == before
    wait(lambda: collected.broken() == set(), lambda: f"still broken: {collected.diagnosis()}")
