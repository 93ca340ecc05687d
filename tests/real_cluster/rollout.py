"""A rolling restart and another image: no gap in the matrix, and no agent that goes on forgets a peer."""

from __future__ import annotations

import pytest

from tests.real_cluster.agents import Agents, restarts
from tests.real_cluster.own_cluster import OwnCluster
from tests.real_cluster.sampling import SCRAPE_SECONDS, Sampler

pytestmark = pytest.mark.timeout(600)  # one node after the other, each ready for ten seconds

DAEMON_SET = "daemonset/monlat-agent"


def rollout_leaves_no_gap(installed: Agents, nodes: list[str], *command: str) -> None:
    """Each pair has `latency_between_nodes` at least once in two scrapes, also those of an agent that is replaced.

    An agent that is not replaced at that moment keeps all its series: its counters only grow.
    """
    in_namespace = ("--namespace", installed.namespace)
    before = {node: installed.name_on(node) for node in nodes}
    with Sampler(installed, nodes) as sampler:
        installed.api.run(*command, *in_namespace)
        installed.api.run("rollout", "status", DAEMON_SET, *in_namespace, "--timeout=4m", seconds=250)
        installed.wait_complete(nodes)
    after = installed.by_node()
    assert [node for node in nodes if after[node]["metadata"]["name"] == before[node]] == []
    assert {restarts(pod) for pod in after.values()} == {0}
    gaps = sampler.longest_gaps()
    assert max(gaps.values()) < 2 * SCRAPE_SECONDS, gaps
    assert sampler.forgotten() == []


def test_rolling_restart_leaves_no_gap(installed: Agents, nodes: list[str]) -> None:
    """`kubectl rollout restart`."""
    rollout_leaves_no_gap(installed, nodes, "rollout", "restart", DAEMON_SET)


@pytest.mark.own_cluster("gives the image another name on each node")
def test_image_change_leaves_no_gap(installed: Agents, own: OwnCluster, nodes: list[str]) -> None:
    """`kubectl set image`. Every node has the other image already: the same one by another name."""
    (container,) = installed.daemon_set()["spec"]["template"]["spec"]["containers"]
    other = f"{container['image']}-other"
    for node in range(1, len(nodes) + 1):
        own.on_node(node, "ctr", "--namespace", "k8s.io", "images", "tag", "--force", container["image"], other)
    rollout_leaves_no_gap(installed, nodes, "set", "image", DAEMON_SET, f"{container['name']}={other}")
    images = [pod["spec"]["containers"][0]["image"] for pod in installed.by_node().values()]
    assert images == [other] * len(nodes)
