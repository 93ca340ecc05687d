"""A rolling restart: no gap in the matrix, and no agent that goes on forgets a peer."""

from __future__ import annotations

import pytest

from tests.real_cluster.agents import Agents, restarts
from tests.real_cluster.sampling import SCRAPE_SECONDS, Sampler

pytestmark = pytest.mark.timeout(300)  # one node after the other, each ready for ten seconds


def test_rolling_restart_leaves_no_gap(installed: Agents, nodes: list[str]) -> None:
    """Each pair has `latency_between_nodes` at least once in two scrapes, also those of an agent that is replaced.

    An agent that is not replaced at that moment keeps all its series: its counters only grow.
    """
    before = {node: installed.name_on(node) for node in nodes}
    with Sampler(installed, nodes) as sampler:
        installed.api.run("rollout", "restart", "daemonset/monlat-agent", "--namespace", installed.namespace)
        installed.api.run(
            *("rollout", "status", "daemonset/monlat-agent", "--namespace", installed.namespace, "--timeout=4m"),
            seconds=250,
        )
        installed.wait_complete(nodes)
    after = installed.by_node()
    assert [node for node in nodes if after[node]["metadata"]["name"] == before[node]] == []
    assert {restarts(pod) for pod in after.values()} == {0}
    gaps = sampler.longest_gaps()
    assert max(gaps.values()) < 2 * SCRAPE_SECONDS, gaps
    assert sampler.forgotten() == []
