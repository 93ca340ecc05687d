"""An agent whose nodes come from the Kubernetes API: a pod is replaced, and targets are probed beside the nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.fake_apiserver import FakeApiServer, endpoint, endpoint_slice
from testkit.links import Links
from testkit.pair import Pair
from tests.kernel.agents import RunningAgent, entry

GATEWAY, DNS, THIRD = "10.77.0.41", "10.77.0.53", "10.77.0.3"
SENT = "monlat_probes_sent_total"


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two nodes, of which the second has all other addresses, too."""
    with Pair() as pair, Links(pair["node2"].namespace) as links:
        for address in (GATEWAY, DNS, THIRD):
            links.add_address(pair["node2"].device, f"{address}/24")
        yield pair


@pytest.fixture
def server(pair: Pair) -> Iterator[FakeApiServer]:
    """An API server that node1 reaches, which lists node2."""
    with pair["node1"].namespace.entered():
        server = FakeApiServer()
        server.up()  # here: its thread stays in this namespace
    server.put(endpoint_slice("one", endpoint("node2", pair["node2"].ipv4, zone="a")))
    yield server
    server.down()


def in_cluster(pair: Pair, server: FakeApiServer, folder: Path, *more: str) -> RunningAgent:
    kubeconfig = str(server.kubeconfig(folder / "kubeconfig"))
    arguments = ("--discovery", "kubernetes", "--kubeconfig", kubeconfig, *more)
    return RunningAgent(pair["node1"].namespace, folder, None, more=arguments)


def test_replaced_pod_costs_no_history(pair: Pair, server: FakeApiServer, tmp_path: Path) -> None:
    """Node2 has no endpoint for a time, in which node3 joins: its counters go on. Node3 gets its address: it goes."""
    address = pair["node2"].ipv4
    with in_cluster(pair, server, tmp_path) as agent:
        agent.wait_for_peers("node2")
        before = agent.wait_for_replies(7, to="node2")
        server.put(endpoint_slice("one", endpoint("node3", THIRD)))
        agent.wait_for_peers("node2", "node3")
        away = agent.wait_for_replies(7, to="node2")
        assert away.has("monlat_peer_info", to="node2", to_zone="a", address=address)
        server.put(endpoint_slice("one", endpoint("node3", THIRD), endpoint("node2", address, zone="a")))
        back = agent.wait_for_replies(7, to="node2")
        counts = [scrape.one(SENT, to="node2") for scrape in (before, away, back)]
        assert counts[0] + 7 <= counts[1] <= counts[2] - 7
        assert set(back.results(to="node2")) == {"reply"}
        server.put(endpoint_slice("one", endpoint("node3", address)))
        agent.wait_for_peers("node3")


def test_targets_are_probed_beside_the_nodes(pair: Pair, server: FakeApiServer, tmp_path: Path) -> None:
    """A node and a target are answered, then another target instead. A target with the node's address is the node's."""
    targets = tmp_path / "targets.yaml"
    targets.write_text(entry("gateway", GATEWAY, zone="edge") + entry("twin", pair["node2"].ipv4))
    with in_cluster(pair, server, tmp_path, "--targets", str(targets)) as agent:
        agent.wait_for_peers("node2", "gateway")
        scrape = agent.wait_for_replies(7, to="gateway")
        for name, zone, kind in (("node2", "a", "node"), ("gateway", "edge", "target")):
            assert scrape.has("monlat_peer_info", to=name, to_zone=zone, kind=kind)
            assert agent.pair(name)["kind"] == kind
        assert scrape.has("latency_between_nodes", to="gateway")
        assert (scrape.one("monlat_targets_up"), scrape.one("monlat_discovery_up")) == (1, 1)
        assert f"{pair['node2'].ipv4} of the target twin belongs to the node node2" in agent.log()
        before = agent.wait_for_replies(7, to="node2")
        targets.write_text(entry("dns", DNS))
        agent.wait_for_peers("node2", "dns")
        after = agent.wait_for_replies(7, to="dns")
        assert after.one(SENT, to="node2") > before.one(SENT, to="node2")
