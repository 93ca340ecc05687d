"""A node's power is cut, and comes back."""

from __future__ import annotations

import pytest

from tests.real_cluster.agents import LATENCY, Agents, label_values, value, wait
from tests.real_cluster.own_cluster import OwnCluster

pytestmark = [pytest.mark.own_cluster("cuts a node's power"), pytest.mark.timeout(600)]

RESULTS = "monlat_probe_results_total"


def lost(agents: Agents, node: str, peer: str) -> float:
    """The probes of an agent to a peer that had another result than `reply`."""
    text = agents.metrics(node)
    return value(text, RESULTS, to=peer) - value(text, RESULTS, to=peer, result="reply")


def answers(agents: Agents, node: str, peer: str) -> bool:
    return peer in label_values(agents.metrics(node), LATENCY, "to")


def unreachable(agents: Agents, node: str, peer: str) -> float:
    return value(agents.metrics(node), RESULTS, to=peer, result="unreachable")


def test_power_cut_and_return(installed: Agents, own: OwnCluster, nodes: list[str]) -> None:
    """The others keep the dead node as a peer that does not answer, blame no host for it, and measure it again."""
    *others, dead = nodes
    one, other = others
    blamed = {node: value(installed.metrics(node), RESULTS, to=dead, result="lost_host") for node in others}
    before = {(a, b): lost(installed, a, b) for a, b in ((one, other), (other, one))}
    number = int(dead.removeprefix("node"))
    own.cut_power(number)
    try:
        wait(lambda: all(not answers(installed, node, dead) for node in others), "the dead node still answers")
        # until ARP's entry expires its probes are lost; after that nobody has its address
        wait(lambda: all(unreachable(installed, node, dead) for node in others), "nobody reports it unreachable", 150)
        for node in others:
            text = installed.metrics(node)
            assert value(text, RESULTS, to=dead, result="lost_host") == blamed[node]
            assert value(text, "monlat_probe_errors_total", kind="no_neighbour") > 0
            assert value(text, "monlat_peers") == len(nodes) - 1
    finally:
        own.start_node(number)
    installed.wait_complete(nodes, seconds=120)
    assert {(a, b): lost(installed, a, b) for a, b in before} == before
