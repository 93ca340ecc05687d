"""The API server goes away and comes back, nodes join and leave, and etcd forgets what a watch needs."""

from __future__ import annotations

import base64
import time

import pytest

from tests.real_cluster.agents import LATENCY, Agents, label_values, lost, value, wait
from tests.real_cluster.own_cluster import OwnCluster

pytestmark = [pytest.mark.own_cluster("kills the API server"), pytest.mark.timeout(900)]

AWAY_SECONDS = 60
FOLLOWED_WITHIN_SECONDS = 10
"""The 5 s that README states for so small a cluster, and as much for a machine that runs all of it."""

ADDED_AFTER_SECONDS = 5
LISTED_WITHIN_SECONDS = 420
"""Kubernetes' own time: after an outage each of its controllers asks again up to a minute later, one after another."""

PROBED_WITHIN_SECONDS = 10
RESULTS = "monlat_probe_results_total"


def peers_listed(agents: Agents) -> set[str]:
    """The nodes with an address in the Service's EndpointSlices."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{agents.namespace}/endpointslices"
    slices = agents.api.items(path)
    return {endpoint["nodeName"] for each in slices for endpoint in each["endpoints"] or () if endpoint["addresses"]}


def replies(agents: Agents, address: str, peer: str) -> float:
    """Replies of a peer, asked of the agent directly: through the API server, a busy node would delay the answer."""
    return value(agents.direct_metrics(address), RESULTS, to=peer, result="reply")


def test_a_minute_without_api_server(installed: Agents, own: OwnCluster, nodes: list[str]) -> None:
    """Agents go on measuring. A node added 5 s after the return is probed by all within 10 s of its being listed.

    Then that node leaves for good: its pairs go, and the others lose nothing.
    """
    addresses = [installed.api.address_of(node) for node in nodes]
    losses = lost(installed.pairs(*nodes))
    before = {address: value(installed.direct_metrics(address), RESULTS, result="reply") for address in addresses}
    with own.without_api_server():
        time.sleep(AWAY_SECONDS)  # the length of the outage is what is tested
        for address in addresses:
            text = installed.direct_metrics(address)
            assert value(text, "monlat_discovery_up") == 0
            assert value(text, "monlat_peers") == len(nodes) - 1
            assert value(text, RESULTS, result="reply") > before[address] + AWAY_SECONDS
    wait(
        lambda: all(value(installed.direct_metrics(each), "monlat_discovery_up") for each in addresses),
        "not every agent follows the list again",
        FOLLOWED_WITHIN_SECONDS,
    )
    time.sleep(ADDED_AFTER_SECONDS)
    with own.joined() as joined:
        wait(
            lambda: joined in peers_listed(installed),
            lambda: f"the added node is not listed: {installed.describe()}\n{own.describe(joined)}",
            LISTED_WITHIN_SECONDS,
        )
        wait(
            lambda: all(replies(installed, address, joined) for address in addresses),
            "not every agent probes the added node",
            PROBED_WITHIN_SECONDS,
        )
        pairs = installed.wait_complete([*nodes, joined])
        assert lost(pairs) == losses | {key: 0 for key in pairs if joined in key}
    wait(
        lambda: all(joined not in label_values(installed.metrics(node), LATENCY, "to") for node in nodes),
        "the node that left still answers",
    )
    assert lost(installed.wait_complete(nodes, seconds=300)) == losses


def test_etcd_is_compacted_under_a_watch(installed: Agents, own: OwnCluster, nodes: list[str]) -> None:
    """The version at which the agents would resume is gone: the API server says 410, they list, and go on measuring."""

    def counts(name: str, **labels: str) -> dict[str, float]:
        return {node: value(installed.metrics(node), name, **labels) for node in nodes}

    gone = counts("monlat_discovery_errors_total", reason="gone")
    relists = counts("monlat_discovery_relists_total")
    sent = counts("monlat_probes_sent_total")
    losses = lost(installed.pairs(*nodes))
    with own.without_api_server():
        key = base64.b64encode(b"/monlat-test").decode()
        own.etcd("put", key=key, value=key)
        revision = own.etcd("range", key=key)["header"]["revision"]
        own.etcd("compaction", revision=revision, physical=True)

    def all_listed_again() -> bool:
        now = counts("monlat_discovery_relists_total")
        return all(now[node] > relists[node] for node in nodes) and set(counts("monlat_discovery_up").values()) == {1}

    wait(all_listed_again, "an agent did not list again", 120)
    now = counts("monlat_discovery_errors_total", reason="gone")
    assert [node for node in nodes if now[node] <= gone[node]] == []
    assert all(count >= sent[node] for node, count in counts("monlat_probes_sent_total").items())
    assert lost(installed.wait_complete(nodes)) == losses
