"""`monlat collect` with the agents of the demo's test bed: its matrix is theirs, and says what is broken."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from monlat_ebpf.cli.demo_cluster import Demo, VirtualAgent
from monlat_ebpf.collector.config import DEFAULT_PORT as COLLECTOR_PORT
from monlat_ebpf.config import DEFAULT_PORT
from monlat_ebpf.exposition.client import ask_about
from monlat_ebpf.testbed.links import Links
from testkit.chromium import Chromium
from testkit.fake_apiserver import FakeApiServer, endpoint, endpoint_slice
from testkit.running_collector import RunningCollector, running_collector
from testkit.waiting import wait_until
from tests.kernel.prometheus_server import Prometheus
from tests.kernel.test_prometheus import AVERAGE

URL = f"http://127.0.0.1:{DEFAULT_PORT}"
RECENT_SECONDS = 2.0  # the agents keep their last 16 probes: 3.2 s at five a second


@dataclass(frozen=True)
class Bed:
    """Three virtual nodes with agents, and a collector on the first."""

    agents: tuple[VirtualAgent, ...]
    collector: RunningCollector

    def matrix(self, measure: str = "rtt") -> dict[str, Any]:
        with self.agents[0].node.namespace.entered():
            return self.collector.matrix(measure)

    def pair(self, source: str, to: str) -> dict[str, Any]:
        with self.agents[0].node.namespace.entered():
            return self.collector.pair(source, to)

    def metrics(self) -> str:
        with self.agents[0].node.namespace.entered():
            return self.collector.get("/metrics").decode()

    def wait_for_states(self, *states: str) -> None:
        wait_until(lambda: self.matrix()["states"] == list(states), f"{states}; {self.matrix()}")

    def recent_rtts(self, agent: VirtualAgent, to: str) -> set[str]:
        """The RTTs that the agent itself measured last, as the matrix writes them."""
        with agent.node.namespace.entered():
            (pair,) = ask_about(to, URL)["pairs"]
        return {f"{probe['rtt_seconds']:.5g}" for probe in pair["probes"] if probe["rtt_seconds"] is not None}


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    directory: Path = tmp_path_factory.mktemp("collector")
    with ExitStack() as stack:
        demo = stack.enter_context(Demo(3))
        peers = [{"name": agent.node.name, "addresses": [agent.node.ipv4], "zone": "z"} for agent in demo.agents]
        (directory / "peers.yml").write_text(json.dumps(peers))
        collector = stack.enter_context(
            running_collector(
                directory,
                *("--peers", str(directory / "peers.yml"), "--collect-interval", "1s", "--collect-timeout", "500ms"),
                popen=demo.agents[0].node.namespace.popen,
                listen=(),
            )
        )
        yield Bed(demo.agents, collector)


def test_agents_are_found_through_the_kubernetes_api(bed: Bed, tmp_path: Path) -> None:
    """Those of the EndpointSlices, with their zones; one that is new there is asked, too."""
    nodes = [agent.node for agent in bed.agents]
    here = nodes[0].namespace
    with here.entered():
        server = FakeApiServer()
        server.up()  # here: its thread stays in this namespace
    try:
        endpoints = [endpoint(node.name, node.ipv4, zone=zone) for node, zone in zip(nodes, "bab", strict=True)]
        server.put(endpoint_slice("one", *endpoints[:2]))
        kubeconfig = str(server.kubeconfig(tmp_path / "kubeconfig"))
        with running_collector(
            tmp_path,
            *("--discovery", "kubernetes", "--kubeconfig", kubeconfig, "--collect-interval", "1s"),
            *("--collect-timeout", "500ms"),
            popen=here.popen,
        ) as collector:
            found = Bed(bed.agents, collector)
            found.wait_for_states("-m", "m-")
            server.put(endpoint_slice("one", *endpoints))
            found.wait_for_states("-mm", "m-m", "mm-")
            shown = [(node["name"], node["zone"]) for node in found.matrix()["nodes"]]
            assert shown == [("node2", "a"), ("node1", "b"), ("node3", "b")]
            assert "monlat_discovery_up 1.0" in found.metrics()
    finally:
        server.down()


def test_every_cell_is_a_number_that_its_agent_measured(bed: Bed) -> None:
    """To five digits: each is the RTT of one of the last probes as the agent shows them itself."""
    bed.wait_for_states("-mm", "m-m", "mm-")
    names = [agent.node.name for agent in bed.agents]
    compared: set[tuple[str, str]] = set()

    def compare() -> bool:
        for number, agent in enumerate(bed.agents):
            for to in names:
                if to == agent.node.name or (agent.node.name, to) in compared:
                    continue
                began = time.monotonic()
                document = bed.matrix()
                column = names.index(to)
                value = document["values_seconds"][number][column - (column > number)]
                recent = bed.recent_rtts(agent, to)
                if document["nodes"][number]["age_seconds"] + time.monotonic() - began < RECENT_SECONDS:
                    assert f"{value:.5g}" in recent
                    compared.add((agent.node.name, to))
        return len(compared) == 6

    wait_until(compare, f"compared only {compared}")


def test_metrics_and_details_of_the_pairs(bed: Bed) -> None:
    """Six ordered pairs in milliseconds; a pair's details are of the agents, with eth0 and stamps by the driver."""
    bed.wait_for_states("-mm", "m-m", "mm-")
    lines = [line for line in bed.metrics().splitlines() if line.startswith("latency_between_nodes{")]
    assert len(lines) == 6
    assert all(0 < float(line.split()[-1]) < 1000 for line in lines)
    wait_until(lambda: all(each["detail"] for each in bed.pair("node1", "node3")["directions"]))
    for direction in bed.pair("node1", "node3")["directions"]:
        detail = direction["detail"]
        assert detail["source"] == "tracepoint"
        assert [family["device"] for family in detail["families"]] == ["eth0"]
        assert cast(list[Any], detail["families"][0]["probes"])
        (stamps,) = detail["reply_stamps"]
        assert stamps["driver"] > 0
    wait_until(lambda: bed.matrix("loss")["values_ratio"] == [[0, 0], [0, 0], [0, 0]])


def test_query_of_the_prototypes_consumers_answers_for_every_pair(bed: Bed, tmp_path: Path) -> None:
    """Prometheus scrapes the collector alone. Each average is between the least and the largest RTT of its agent."""
    bed.wait_for_states("-mm", "m-m", "mm-")
    names = [agent.node.name for agent in bed.agents]
    pairs = {(one, other) for one in names for other in names if one != other}
    target = f"{bed.agents[0].node.ipv4}:{COLLECTOR_PORT}"
    with Prometheus(bed.agents[1].node.namespace, tmp_path, [target]) as prometheus:
        wait_until(lambda: prometheus.query("count_over_time(latency_between_nodes[1m]) >= 5").keys() == pairs)
        averages = prometheus.query(AVERAGE)
    assert averages.keys() == pairs
    for agent in bed.agents:
        for pair in agent.ask()["pairs"]:
            rtt = pair["rtt_seconds"]
            assert rtt["min"] is not None
            assert rtt["max"] is not None
            assert rtt["min"] <= averages[pair["from"], pair["to"]] / 1e3 <= rtt["max"]
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=bed.metrics(), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_dead_agent_differs_from_a_cut_cable(bed: Bed) -> None:
    """node3's agent is killed: its row is stale, and its kernel still answers the others. Then node2 loses its cable.

    node1 has lost node2 then, and node2's own row is stale. node3 is still measured. The page says the same.
    """
    bed.wait_for_states("-mm", "m-m", "mm-")
    with Chromium(popen=bed.agents[0].node.namespace.popen) as browser:
        browser.open(f"http://127.0.0.1:{COLLECTOR_PORT}/")
        browser.wait_for("document.querySelector('#matrix-title')?.innerText === 'RTT, last: 3 \u00d7 3 nodes'")
        assert browser.run("document.querySelector('#missing').innerText") == "none"
        assert len(browser.run("document.querySelector('#worst').innerText").splitlines()) == 6
        cut_and_kill(bed)
        browser.wait_for("document.querySelector('#missing').innerText.match(/^node2: .*\\nnode3: .*$/)")
        assert browser.run("document.querySelector('#worst').innerText.split('\\n')[0]") == "node1 to node2: lost"
        assert len(browser.run("document.querySelector('#worst').innerText").splitlines()) == 2
        assert browser.complaints == []


def cut_and_kill(bed: Bed) -> None:
    bed.agents[2].process.kill()
    bed.wait_for_states("-mm", "m-m", "ss-")
    with Links(bed.agents[1].node.namespace) as links:
        links.set_up("eth0", up=False)
    bed.wait_for_states("-lm", "s-s", "ss-")
    document = bed.matrix()
    assert [len(row) for row in document["values_seconds"]] == [1, 0, 0]
    assert document["nodes"][0]["failure"] is None
    assert document["nodes"][2]["failure"] == "unreachable"
    latencies = [line for line in bed.metrics().splitlines() if line.startswith("latency_between_nodes{")]
    assert [line.split(" ")[0] for line in latencies] == ['latency_between_nodes{from="node1",to="node3"}']
