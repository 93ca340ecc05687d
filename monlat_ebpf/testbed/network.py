"""Whole networks of namespaces: N nodes on a bridge, or two on one wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed.links import Links
from monlat_ebpf.testbed.namespace import Namespace

DEVICE = "eth0"
MAX_NODES = 254  # what 10.77.0.0/24 has room for


@dataclass(frozen=True, slots=True)
class Node:
    """A virtual node: a namespace with `eth0` in 10.77.0.0/24 and fd77::/64."""

    name: str
    namespace: Namespace
    ipv4: str
    ipv6: str
    device: str = DEVICE


class Network:
    """Nodes that see each other; a context manager that takes all of it down again.

    node1 has 10.77.0.1 and fd77::1, and so on; `network["node2"]` and iteration give the nodes.
    """

    def __init__(self, nodes: int, mtu: int) -> None:
        if not 1 <= nodes <= MAX_NODES:
            raise TestbedError(f"a virtual network has 1 to {MAX_NODES} nodes, not {nodes}")
        self._count = nodes
        self._mtu = mtu
        self._stack = ExitStack()
        self.nodes: tuple[Node, ...] = ()

    def _build(self) -> None:
        """Make the nodes and connect them."""
        raise NotImplementedError

    def _make_nodes(self) -> None:
        nodes = []
        for number in range(1, self._count + 1):
            name = f"node{number}"
            namespace = self._stack.enter_context(Namespace(name))
            nodes.append(Node(name, namespace, ipv4=f"10.77.0.{number}", ipv6=f"fd77::{number:x}"))
        self.nodes = tuple(nodes)

    def _configure(self, node: Node) -> None:
        with Links(node.namespace) as links:
            links.add_address(node.device, f"{node.ipv4}/24")
            links.add_address(node.device, f"{node.ipv6}/64")
            links.set_up(node.device)

    def _wait_until_usable(self) -> None:
        for node in self.nodes:
            with Links(node.namespace) as links:
                links.wait_until_usable(node.device, (node.ipv4, node.ipv6))

    def __getitem__(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise TestbedError(f"no node {name}: there are node1 to node{self._count}")

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __enter__(self) -> Self:
        with self._stack:
            self._build()
            self._wait_until_usable()
            self._stack = self._stack.pop_all()  # built: only __exit__ takes it down from here
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of every namespace; harmless when done already. Processes inside are their starter's to end."""
        self._stack.close()


class Cluster(Network):
    """N nodes, each with a port of one bridge, in a namespace of its own (`switch`).

    The bridge's port of node1 is `port1`, and so on.
    """

    def __init__(self, nodes: int = 3, mtu: int = 1500) -> None:
        super().__init__(nodes, mtu)

    def _build(self) -> None:
        self._make_nodes()
        self.switch = self._stack.enter_context(Namespace("switch"))
        with Links(self.switch) as links:
            links.add_bridge("bridge")
            links.set_mtu("bridge", self._mtu)
            links.set_up("bridge")
            for number, node in enumerate(self.nodes, start=1):
                port = f"port{number}"
                links.add_veth(port, node.namespace, node.device, self._mtu)
                links.set_master(port, "bridge")
                links.set_up(port)
            for node in self.nodes:
                self._configure(node)
            for number in range(1, len(self) + 1):
                links.wait_until_usable(f"port{number}")


class Pair(Network):
    """Two nodes, node1 and node2, on one veth wire."""

    def __init__(self, mtu: int = 1500) -> None:
        super().__init__(nodes=2, mtu=mtu)

    def _build(self) -> None:
        self._make_nodes()
        first, second = self.nodes
        with Links(first.namespace) as links:
            links.add_veth(first.device, second.namespace, second.device, self._mtu)
        for node in self.nodes:
            self._configure(node)
