"""Five nodes with `--probe-neighbours 2`: who probes whom, what the agents say, and what moves with a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.real_cluster.agents import LATENCY, Agents, label_values, restarts, value, wait
from tests.real_cluster.api import Api
from tests.real_cluster.installing import Installer, wait_for_agents
from tests.real_cluster.own_cluster import JOINING, OwnCluster
from tests.whole_graph import Graph, whole_graph

pytestmark = [pytest.mark.own_cluster("adds and removes nodes"), pytest.mark.timeout(600)]

DEGREE: Final = 2
SENT: Final = "monlat_probes_sent_total"
KEPT_SECONDS: Final = 60
"""Time for which a node that left the list is still probed."""


@pytest.fixture
def five(own: OwnCluster, nodes: list[str]) -> Iterator[list[str]]:
    """Five nodes: three that stay, and the two that join."""
    fourth, fifth = JOINING
    with own.joined(fourth) as one, own.joined(fifth) as other:
        yield [*nodes, one, other]


def zones_of(api: Api, nodes: list[str]) -> dict[str, str]:
    """Return the zones, by the labels of the nodes."""
    found = api.nodes()
    return {node: found[node]["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes}


def wait_for_graph(agents: Agents, expected: Graph) -> None:
    """Wait until each agent probes exactly the peers of the definition, and all of them reply."""

    def is_so() -> bool:
        texts = {node: agents.metrics(node) for node in expected}
        probed = {node: label_values(text, SENT, "to") for node, text in texts.items()}
        return probed == expected == {node: label_values(text, LATENCY, "to") for node, text in texts.items()}

    wait(is_so, lambda: f"the agents do not probe {expected}: {agents.describe()}", KEPT_SECONDS + 90)


def coverage(agents: Agents, node: str) -> dict[str, float]:
    text = agents.metrics(node)
    names = ("nodes", "peers", "wanted_peers", "unprobed_nodes", "zone_pairs", "own_zone_pairs_probed")
    return {name: value(text, f"monlat_coverage_{name}") for name in names}


def check_coverage(agents: Agents, expected: Graph) -> None:
    """Every node is probed, and each agent says so."""
    assert set.union(*expected.values()) == expected.keys()
    for node, peers in expected.items():
        assert coverage(agents, node) == {
            "nodes": len(expected),
            "peers": len(peers),
            "wanted_peers": len(peers),
            "unprobed_nodes": 0,
            "zone_pairs": 1,
            "own_zone_pairs_probed": 1,
        }
        assert value(agents.metrics(node), "monlat_discovery_peers_over_limit") == 0


def changes(agents: Agents, node: str) -> tuple[float, float]:
    """Return how many nodes an agent has begun and ceased to probe."""
    text = agents.metrics(node)
    added, removed = (value(text, "monlat_coverage_peer_changes_total", change=each) for each in ("added", "removed"))
    return added, removed


def sent(agents: Agents, graph: Graph) -> dict[tuple[str, str], float]:
    """Return the probes of each pair."""
    texts = {node: agents.metrics(node) for node in graph}
    return {(node, peer): value(texts[node], SENT, to=peer) for node, peers in graph.items() for peer in peers}


@contextmanager
def moving(agents: Agents, before: Graph, after: Graph) -> Iterator[None]:
    """Within the block, one graph becomes the other. Check that nothing else moves on the nodes that both have.

    Each began and ceased to probe what differs. What stays keeps its counts: a pair that began again would have few.
    """
    stays = {node: peers & after[node] for node, peers in before.items() if node in after}
    counted, counts = {node: changes(agents, node) for node in stays}, sent(agents, stays)
    yield
    wait_for_graph(agents, after)
    check_coverage(agents, after)
    assert [pair for pair, count in sent(agents, stays).items() if count <= counts[pair]] == []
    for node, (added, removed) in counted.items():
        moved = (added + len(after[node] - before[node]), removed + len(before[node] - after[node]))
        assert changes(agents, node) == moved, node


def test_degree_of_two_on_five_nodes(empty: Installer, own: OwnCluster, five: list[str]) -> None:
    """One ring, and two pairs between the two zones. A node leaves and returns, and moves only its pairs."""
    agents = empty.helm_install(f"probeNeighbours={DEGREE}")
    wait_for_agents(agents, five)
    zones = zones_of(empty.api, five)
    assert len(set(zones.values())) == 2
    whole = whole_graph(zones, DEGREE)
    wait_for_graph(agents, whole)
    check_coverage(agents, whole)
    number, _ = JOINING
    without = whole_graph({node: zone for node, zone in zones.items() if node != f"node{number}"}, DEGREE)
    with moving(agents, whole, without):
        own.remove_node(number)
    with moving(agents, without, whole):
        own.start_node(number)
        wait_for_agents(agents, five)
    assert {restarts(pod) for pod in agents.by_node().values()} == {0}
