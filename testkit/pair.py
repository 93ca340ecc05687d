"""Two nodes on one wire."""

from __future__ import annotations

from monlat_ebpf.testbed.network import Network
from testkit.links import Links


class Pair(Network):
    """Two nodes, node1 and node2, connected by one veth pair."""

    def __init__(self, mtu: int = 1500) -> None:
        super().__init__(nodes=2, mtu=mtu)

    def _build(self) -> None:
        self._make_nodes()
        first, second = self.nodes
        with Links(first.namespace) as links:
            links.add_veth(first.device, second.namespace, second.device, self._mtu)
        for node in self.nodes:
            self._configure(node)
