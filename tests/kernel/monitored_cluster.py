"""Five nodes with agents and a collector, on networks that a test can break: what rules and dashboards are read from.

node1 and node2 are in zone a, node3 and node4 in zone b, node5 in zone c. Prometheus and the collector reach the agents
over a network of their own (`management`), so that a broken network of the nodes hides nothing from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from monlat_ebpf.testbed.namespace import Namespace
from monlat_ebpf.testbed.network import Cluster, Node
from testkit.links import Links
from testkit.running_collector import RunningCollector, running_collector
from tests.kernel.agents import PORT, RunningAgent, entry

ZONES: Final = {"node1": "a", "node2": "a", "node3": "b", "node4": "b", "node5": "c"}
COLLECTOR_ADDRESS: Final = "10.78.0.100"
COLLECTOR_PORT: Final = 9090
PROBES_A_SECOND: Final = 5
PACKET_BYTES: Final = 98  # an echo of 56 bytes in an Ethernet frame
LOAD: Final = 1.1  # of a slow link, by the probes alone: its queue is never empty, and some are lost
QUEUED: Final = 3  # packets at most: a probe waits twice, and less than its timeout of a second
INTERVAL: Final = "200ms"


class MonitoredCluster:
    """A context manager. `agents` are by node; `management` is the namespace of the collector and of Prometheus."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self.agents: dict[str, RunningAgent] = {}

    def __enter__(self) -> Self:
        with self._stack:
            self._build()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _build(self) -> None:
        self.cluster = self._stack.enter_context(Cluster(len(ZONES)))
        self.management = self._bridged("management", "eth1", "10.78.0")
        with Links(self.management) as links:
            links.add_address("bridge", f"{COLLECTOR_ADDRESS}/24")
        self.detour = self._bridged("detour", "eth2", "10.79.0")
        peers = [entry(node.name, node.ipv4, zone=ZONES[node.name]) for node in self.cluster]
        for node in self.cluster:
            self.agents[node.name] = self._start_agent(node, peers)
        self._start_odd_agent(peers)
        self._collector_peers = self._directory / "collector-peers.json"
        self.list_for_collector(ZONES)

    def _bridged(self, name: str, device: str, prefix: str) -> Namespace:
        """Connect all nodes, and the switch, to another bridge, in a namespace of its own."""
        namespace = self._stack.enter_context(Namespace(name))
        with Links(namespace) as links:
            links.add_bridge("bridge")
            links.set_up("bridge")
            namespaces = [*(node.namespace for node in self.cluster), self.cluster.switch]
            for number, connected in enumerate(namespaces, start=1):
                links.add_veth(f"port{number}", connected, device)
                links.set_master(f"port{number}", "bridge")
                links.set_up(f"port{number}")
                with Links(connected) as far:
                    far.add_address(device, f"{prefix}.{number}/24")
                    far.set_up(device)
                links.wait_until_usable(f"port{number}")
        return namespace

    def _start_agent(self, node: Node, peers: Iterable[str]) -> RunningAgent:
        return self._stack.enter_context(
            RunningAgent(node.namespace, self._directory, peers, node=node.name, interval=INTERVAL, timeout="1s")
        )

    def _start_odd_agent(self, peers: Iterable[str]) -> None:
        """Start an agent on the switch, in zone a, that shows what others do not. The others do not know it.

        It has socket stamps, nodes over its limit, a bad file of targets, and sums its histograms by zone: Prometheus
        2.42 cannot sum native ones of pairs.
        """
        with Links(self.cluster.switch) as links:
            links.add_address("bridge", "10.77.0.200/24")
        targets = self._directory / "targets.yaml"
        targets.write_text("[]\n")
        agent = RunningAgent(
            self.cluster.switch,
            self._directory,
            [*peers, entry("odd", "10.77.0.200", zone="a")],
            node="odd",
            interval=INTERVAL,
            source="socket",
            more=("--max-peers", "4", "--targets", str(targets), "--detail", "zone", "--worst", "1"),
        )
        self.agents["odd"] = self._stack.enter_context(agent)
        targets.write_text("not a list\n")

    def list_for_collector(self, nodes: Iterable[str]) -> None:
        """Give the collector a list of agents, at their addresses in `management`."""
        numbers = {node.name: number for number, node in enumerate(self.cluster, start=1)}
        listed = [{"name": name, "addresses": [f"10.78.0.{numbers[name]}"], "zone": ZONES[name]} for name in nodes]
        new = self._collector_peers.with_suffix(".new")
        new.write_text(json.dumps(listed))  # JSON is YAML
        new.replace(self._collector_peers)

    def start_collector(self, port: int = COLLECTOR_PORT, interval: str = "1s") -> RunningCollector:
        """Start a collector that asks the agents once in `interval`; it ends with the cluster."""
        directory = self._directory / f"collector-{port}"
        directory.mkdir()
        return self._stack.enter_context(
            running_collector(
                directory,
                *("--peers", str(self._collector_peers), "--listen", f"0.0.0.0:{port}"),
                *("--collect-interval", interval, "--collect-timeout", "900ms"),
                popen=self.management.popen,
                listen=(),
            )
        )

    @property
    def agent_targets(self) -> list[str]:
        """The agents' ports, as Prometheus reaches them."""
        return [f"10.78.0.{number}:{PORT}" for number in range(1, len(self.agents) + 1)]

    # --- Faults -----------------------------------------------------------------------------------------------------

    def stop(self, node: str, stopped: bool = True) -> None:
        """Cut a node off the network of the nodes."""
        with Links(self.cluster.switch) as links:
            links.set_up(self._port(node), up=not stopped)

    def slow_down(self, node: str) -> None:
        """Let everything towards a node, requests and replies, wait in a queue that its probes keep full."""
        with Links(self.cluster.switch) as links:
            self._add_queue(links, node, 2 * PROBES_A_SECOND * (len(ZONES) - 1))

    def speed_up(self, node: str) -> None:
        """Undo `slow_down`."""
        with Links(self.cluster.switch) as links:
            links.delete_queue(self._port(node))

    def reroute(self, pairs: Iterable[tuple[str, str]], *, packets_a_second: int | None = None) -> None:
        """Let these pairs use the network `detour`, which carries nothing, or has queues that so many packets fill."""
        ends: set[str] = set()
        for one, other in pairs:
            ends |= {one, other}
            for source, to in ((one, other), (other, one)):
                with Links(self.cluster[source].namespace) as links:
                    links.add_route(f"{self.cluster[to].ipv4}/32", device="eth2")
        with Links(self.detour) as links:
            for node in ends:
                if packets_a_second is None:
                    links.set_up(self._port(node), up=False)
                else:
                    self._add_queue(links, node, packets_a_second)

    def restore(self, pairs: Iterable[tuple[str, str]], *, packets_a_second: int | None = None) -> None:
        """Undo `reroute` with the same arguments."""
        ends: set[str] = set()
        for one, other in pairs:
            ends |= {one, other}
            for source, to in ((one, other), (other, one)):
                with Links(self.cluster[source].namespace) as links:
                    links.delete_route(f"{self.cluster[to].ipv4}/32", device="eth2")
        with Links(self.detour) as links:
            for node in ends:
                if packets_a_second is None:
                    links.set_up(self._port(node))
                else:
                    links.delete_queue(self._port(node))

    def _add_queue(self, links: Links, node: str, packets_a_second: int) -> None:
        rate = round(8 * PACKET_BYTES * packets_a_second / LOAD)
        links.add_token_bucket(self._port(node), rate, PACKET_BYTES + 10, QUEUED * PACKET_BYTES)

    @staticmethod
    def _port(node: str) -> str:
        return f"port{node.removeprefix('node')}"
