"""Debian's Prometheus scrapes three agents and answers the queries of dashboards and schedulers."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from monlat_ebpf.testbed.network import Cluster
from testkit.links import Links
from testkit.waiting import wait_until
from tests.kernel.agents import PORT, RunningAgent, entry
from tests.kernel.prometheus_server import Prometheus

SCRAPED = 9  # times at least, once a second, before the queries
OCTAVES_APART = 2  # Prometheus and the agent look at different seconds: at the rates of 30 s and at all probes
NODES = ("node1", "node2", "node3")
PAIRS = {(one, other) for one in NODES for other in NODES if one != other}
QUANTILE = "histogram_quantile({}, sum by (le,from,to)(rate(monlat_rtt_seconds_bucket[30s])))"
AVERAGE = "avg_over_time(latency_between_nodes[30s])"


def octave(seconds: float) -> int:
    """The bucket of a classic histogram: the edges are powers of 2, and a bucket holds its upper edge."""
    return math.ceil(math.log2(seconds))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three nodes; their switch has an address of its own, for Prometheus."""
    with Cluster(len(NODES)) as built:
        with Links(built.switch) as links:
            links.add_address("bridge", "10.77.0.100/24")
        yield built


@pytest.fixture(scope="module")
def agents(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningAgent]]:
    directory = tmp_path_factory.mktemp("agents")
    peers = [entry(node.name, node.ipv4) for node in cluster]
    with ExitStack() as stack:
        yield [
            stack.enter_context(RunningAgent(node.namespace, directory, peers, node=node.name, interval="200ms"))
            for node in cluster
        ]


def test_queries_answer_for_every_pair(cluster: Cluster, agents: list[RunningAgent], tmp_path: Path) -> None:
    """For all 6 pairs the median is near the agent's own, and the average and the p99 lie between its extremes."""
    targets = [f"{node.ipv4}:{PORT}" for node in cluster]
    with Prometheus(cluster.switch, tmp_path, targets) as prometheus:
        wait_until(
            lambda: (
                (scraped := prometheus.query("count_over_time(latency_between_nodes[1m])")).keys() == PAIRS
                and min(scraped.values()) >= SCRAPED
            ),
            seconds=60,
        )
        p50, p99 = prometheus.query(QUANTILE.format(0.5)), prometheus.query(QUANTILE.format(0.99))
        average = prometheus.query(AVERAGE)
        own = {(pair["from"], pair["to"]): pair["rtt_seconds"] for agent in agents for pair in agent.answer()["pairs"]}
    assert p50.keys() == p99.keys() == average.keys() == own.keys() == PAIRS
    for nodes, rtt in own.items():
        assert rtt["min"] is not None
        assert rtt["p50"] is not None
        assert rtt["max"] is not None
        assert rtt["min"] <= average[nodes] / 1e3 <= rtt["max"]
        assert abs(octave(p50[nodes]) - octave(rtt["p50"])) <= OCTAVES_APART
        assert octave(rtt["min"]) <= octave(p99[nodes]) <= octave(rtt["max"])


def test_promtool_accepts_a_scrape(agents: list[RunningAgent]) -> None:
    """`promtool check metrics` on a real scrape is silent."""
    status, text = agents[0].get("/metrics")
    assert status == 200
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
