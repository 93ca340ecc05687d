"""A cluster of virtual nodes on this machine with a real agent on each, for `monlat demo`.

Nothing is left behind, however the demo ends. Only descriptors refer to the namespaces, the peers file is in memory,
and the kernel ends the agents when this process dies.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Final, Self

import yaml

from monlat_ebpf.cli.demo_collector import VirtualCollector
from monlat_ebpf.cli.demo_process import VirtualProcess
from monlat_ebpf.config import DEFAULT_PORT
from monlat_ebpf.errors import AgentUnreachable, MonlatError, TestbedError
from monlat_ebpf.exposition import client
from monlat_ebpf.exposition.api import PeersDocument
from monlat_ebpf.testbed.network import Cluster, Node

INTERVAL: Final = "200ms"
"""Five probes a second: a first number soon, and 75 samples for each pair in a run of 15 s."""

START_SECONDS: Final = 60.0
"""Each agent compiles its kernel program: 0.5 s of a core, and much longer on a busy machine."""

ZONES: Final = "abcdefghijklmnop"
"""Their names; there are as many as nodes at most."""

_POLL_SECONDS: Final = 0.05


class VirtualAgent(VirtualProcess):
    """The agent of one node: a process in the node's namespace."""

    def __init__(self, node: Node, peers_descriptor: int) -> None:
        self.node = node
        arguments = ["agent", "--node-name", node.name, "--interval", INTERVAL]
        arguments += ["--peers", f"/proc/self/fd/{peers_descriptor}"]
        super().__init__(
            f"the agent of {node.name}", node.namespace, "monlat_ebpf", arguments, descriptors=[peers_descriptor]
        )

    @property
    def metrics_command(self) -> str:
        """A shell command that shows this node's /metrics while the demo runs."""
        return f"nsenter --target {self.process.pid} --net curl -s http://127.0.0.1:{DEFAULT_PORT}/metrics"

    def ask(self) -> PeersDocument:
        """Return the agent's answer. Raises AgentUnreachable, and TestbedError as `check` does."""
        self.check()
        with self.node.namespace.entered():
            return client.ask(f"http://127.0.0.1:{DEFAULT_PORT}")


class Demo:
    """The running cluster: a context manager. Raises TestbedError when it cannot start.

    Its nodes are spread evenly over `zones` zones. With `listen`, a host and a port of this machine, it has a collector
    there; raises ConfigError if that port is not free.
    """

    def __init__(self, nodes: int, zones: int = 1, listen: tuple[str, int] | None = None) -> None:
        self.cluster: Final = Cluster(nodes)
        self._listen = listen
        self._stack = ExitStack()
        names = [f"node{number}" for number in range(1, nodes + 1)]
        self.zones: Final = {name: ZONES[number * zones // nodes] for number, name in enumerate(names)}
        self.agents: tuple[VirtualAgent, ...] = ()
        self.collector: VirtualCollector | None = None

    def __enter__(self) -> Self:
        with self._stack:
            cluster = self._stack.enter_context(self.cluster)
            peers = self._stack.enter_context(_peers_file(cluster, self.zones))
            if self._listen is not None:
                cluster.join_switch()
                self.collector = VirtualCollector(cluster.switch, peers.fileno(), self._listen)
                self._stack.callback(self.collector.close)
            agents = []
            for node in cluster:
                agent = VirtualAgent(node, peers.fileno())
                self._stack.callback(agent.close)
                agents.append(agent)
            self.agents = tuple(agents)
            self._wait_until_measuring()
            self._stack = self._stack.pop_all()  # it runs; from here on only __exit__ ends it
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for agent in self.agents:
            agent.process.terminate()  # all at the same time; close() waits for each
        self._stack.close()

    def check(self) -> None:
        """Raise TestbedError if an agent or the collector has ended."""
        for agent in self.agents:
            agent.check()
        if self.collector is not None:
            self.collector.check()

    def answers(self) -> list[PeersDocument]:
        """Return each agent's answer of now."""
        return [agent.ask() for agent in self.agents]

    def final_answers(self) -> list[PeersDocument]:
        """Return an answer of each agent in which no probe is in flight."""
        return [self._final_answer(agent) for agent in self.agents]

    def _final_answer(self, agent: VirtualAgent) -> PeersDocument:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            answer = agent.ask()
            if not any(pair["in_flight"] for pair in answer["pairs"]):
                return answer
            time.sleep(_POLL_SECONDS)
        raise TestbedError(f"the agent of {agent.node.name} always has probes in flight; does a peer not answer?")

    def _wait_until_measuring(self) -> None:
        """Wait until every pair has had a reply."""
        end = time.monotonic() + START_SECONDS
        for agent in self.agents:
            while True:
                try:
                    if all(pair["replies"] for pair in agent.ask()["pairs"]):
                        break
                    reason: MonlatError | str = "some of its peers never answered"
                except AgentUnreachable as error:
                    reason = error
                if time.monotonic() > end:
                    raise TestbedError(f"{agent.node.name} did not measure within {START_SECONDS:g} s: {reason}")
                time.sleep(_POLL_SECONDS)


def _peers_file(cluster: Cluster, zones: Mapping[str, str]) -> IO[bytes]:
    """Return an open file in memory that lists the nodes."""
    peers = [{"name": node.name, "addresses": [node.ipv4], "zone": zones[node.name]} for node in cluster]
    file = os.fdopen(os.memfd_create("peers"), "w+b")
    file.write(yaml.safe_dump(peers).encode())
    file.flush()
    return file
