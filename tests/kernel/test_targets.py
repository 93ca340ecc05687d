"""Targets beside the nodes that Kubernetes lists: measured like them, marked, and followed when their file changes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from testkit.fake_apiserver import FakeApiServer, endpoint, endpoint_slice
from testkit.links import Links
from testkit.pair import Pair
from tests.kernel.agents import RunningAgent, entry

GATEWAY, DNS = "10.77.0.41", "10.77.0.53"


def test_targets_are_probed_beside_the_nodes_of_a_cluster(tmp_path: Path) -> None:
    """A node and a target are answered, then another target instead. A target with the node's address is the node's."""
    with Pair() as pair, Links(pair["node2"].namespace) as links, ExitStack() as stack:
        for address in (GATEWAY, DNS):
            links.add_address(pair["node2"].device, f"{address}/24")
        targets = tmp_path / "targets.yaml"
        targets.write_text(entry("gateway", GATEWAY, zone="edge") + entry("twin", pair["node2"].ipv4))
        with pair["node1"].namespace.entered():
            server = stack.enter_context(FakeApiServer())
        server.put(endpoint_slice("one", endpoint("node2", pair["node2"].ipv4, zone="a")))
        kubeconfig = str(server.kubeconfig(tmp_path / "kubeconfig"))
        more = ("--discovery", "kubernetes", "--kubeconfig", kubeconfig, "--targets", str(targets))
        with RunningAgent(pair["node1"].namespace, tmp_path, None, more=more) as agent:
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
            sent = "monlat_probes_sent_total"
            assert after.one(sent, to="node2") > before.one(sent, to="node2")
