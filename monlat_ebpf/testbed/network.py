"""Networks of namespaces: nodes, each with an address of both families."""

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
BRIDGE = "bridge"
MAX_NODES = 253  # what 10.77.0.0/24 has room for, beside the switch
SWITCH_ADDRESS = "10.77.0.254"


@dataclass(frozen=True, slots=True)
class Node:
    """A virtual node: a namespace whose `eth0` has addresses in 10.77.0.0/24 and fd77::/64."""

    name: str
    namespace: Namespace
    ipv4: str
    ipv6: str
    device: str = DEVICE


class Network:
    """Connected nodes. A context manager that removes all of them at its end.

    node1 has 10.77.0.1 and fd77::1, and so on. `network["node2"]` and iteration return nodes.
    """

    def __init__(self, nodes: int, mtu: int) -> None:
        if not 1 <= nodes <= MAX_NODES:
            raise TestbedError(f"a virtual network has 1 to {MAX_NODES} nodes, not {nodes}")
        self._count = nodes
        self._mtu = mtu
        self._stack = ExitStack()
        self.nodes: tuple[Node, ...] = ()

    def _build(self) -> None:
        """Create the nodes and connect them."""
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
            self._stack = self._stack.pop_all()  # built: from here on only close() removes it
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every namespace; may be called twice. Whoever started processes inside must end them."""
        self._stack.close()


class Cluster(Network):
    """N nodes on one bridge, which is in a separate namespace, `switch`.

    node1 is connected to the bridge's `port1`, and so on.
    """

    def __init__(self, nodes: int = 3, mtu: int = 1500) -> None:
        super().__init__(nodes, mtu)

    def _build(self) -> None:
        self._make_nodes()
        self.switch = self._stack.enter_context(Namespace("switch"))
        with Links(self.switch) as links:
            links.add_bridge(BRIDGE)
            links.set_mtu(BRIDGE, self._mtu)
            links.set_up(BRIDGE)
            for node in self.nodes:
                port = self.port_of(node)
                links.add_veth(port, node.namespace, node.device, self._mtu)
                links.set_master(port, BRIDGE)
                links.set_up(port)
            for node in self.nodes:
                self._configure(node)
            for node in self.nodes:
                links.wait_until_usable(self.port_of(node))

    @staticmethod
    def port_of(node: Node) -> str:
        """Return the name of the interface in the switch that a node is connected to."""
        return f"port{node.name.removeprefix('node')}"

    def join_switch(self) -> None:
        """Give the switch itself an address, so that a process in its namespace reaches the nodes."""
        with Links(self.switch) as links:
            links.add_address(BRIDGE, f"{SWITCH_ADDRESS}/24")
