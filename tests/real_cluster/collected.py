"""The collector in the cluster: the whole matrix at the address of its Service, and the name of what is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.real_cluster.agents import LATENCY, NAMESPACE, Agents, ordered_pairs, wait
from tests.real_cluster.installing import Installer
from tests.real_cluster.own_cluster import OwnCluster
from tests.real_cluster.scraped import prometheus_with

pytestmark = pytest.mark.timeout(900)

SERVICE = f"/api/v1/namespaces/{NAMESPACE}/services/monlat:9090/proxy"
"""The API server passes on what is asked here to a pod of the Service, as `curl monlat:9090` in a pod does."""

COLLECTOR = "app.kubernetes.io/component=collector"

AVERAGE = f"avg_over_time({LATENCY}[30s])"
"""The query of those who used the prototype."""

NAMED_WITHIN_SECONDS = 90
"""By default windows are 5 s long, two in a row open a diagnosis, and a probe is lost a second after it was sent."""


@pytest.fixture
def collected(installer: Installer, nodes: list[str]) -> Iterator[Agents]:
    """A collector that is asked for the first time when it is ready."""
    installer.remove()
    agents = installer.apply(components=["collector"])
    agents.wait_complete(nodes)
    agents.api.run("rollout", "status", "deployment/monlat", "--namespace", NAMESPACE, "--timeout=240s")
    yield agents
    installer.remove()


def pairs_with_values(agents: Agents) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(agents.api.text(f"{SERVICE}/metrics"))
    return {
        (each.labels["from"], each.labels["to"]): each.value
        for family in families
        for each in family.samples
        if each.name == LATENCY
    }


def diagnosis(agents: Agents) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(agents.api.text(f"{SERVICE}/api/v1/diagnosis"))
    return document


def named(agents: Agents) -> set[tuple[str, tuple[str, ...]]]:
    return {(each["kind"], tuple(each["names"])) for each in diagnosis(agents)["diagnoses"]}


def test_every_pair_is_at_the_service_and_in_a_prometheus(collected: Agents, nodes: list[str], tmp_path: Path) -> None:
    """Each ordered pair has a number of milliseconds in the prototype's shape, and its users' query has as many."""
    wait(lambda: pairs_with_values(collected).keys() == ordered_pairs(nodes), "the collector lacks a pair")
    assert all(0 < value < 1000 for value in pairs_with_values(collected).values())
    job = {
        "job_name": "collector",
        "scrape_interval": "5s",
        "metrics_path": f"{SERVICE}/metrics",
        "static_configs": [{"targets": [collected.api.address]}],
    }
    with prometheus_with(tmp_path, {"scrape_configs": [job]}) as prometheus:
        wait(lambda: len(prometheus.query(AVERAGE)) == len(ordered_pairs(nodes)), "not every pair has an average", 90)
        series = prometheus.query(AVERAGE)
        assert {(each["metric"]["from"], each["metric"]["to"]) for each in series} == ordered_pairs(nodes)
        assert all(0 < float(each["value"][1]) < 1000 for each in series)


@pytest.mark.own_cluster("cuts a node's power")
def test_node_without_power_is_named_and_nothing_else(collected: Agents, own: OwnCluster, nodes: list[str]) -> None:
    """Before, windows are decided and nothing is broken. Afterwards it is named by its name until its return."""
    wait(lambda: diagnosis(collected)["window"] >= 3, "no window is decided")
    assert named(collected) == set()
    collector = collected.api.items(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={COLLECTOR}")
    victim = next(node for node in nodes if node not in {pod["spec"]["nodeName"] for pod in collector})
    own.cut_power(int(victim.removeprefix("node")))
    try:
        wait(lambda: named(collected) == {("node", (victim,))}, lambda: str(diagnosis(collected)), NAMED_WITHIN_SECONDS)
    finally:
        own.start_node(int(victim.removeprefix("node")))
    wait(lambda: named(collected) == set(), lambda: str(diagnosis(collected)), 300)
