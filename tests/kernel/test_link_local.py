"""Link-local peers: the same address exists on every link, and the interface in it says which one is meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from monlat_ebpf.testbed.namespace import Namespace
from testkit.links import Links
from tests.kernel.agents import RunningAgent, entry
from tests.kernel.test_ping import ping_json

PEER = "fe80::2"
ANSWERING, SILENT, EMPTY = "wire1", "wire2", "wire3"
"""Behind the first, the peer answers echoes; behind the second it ignores them; behind the third nobody has that
address."""


@pytest.fixture(scope="module")
def node() -> Iterator[Namespace]:
    """A namespace on three links."""
    with Namespace("node") as near, Namespace("1") as one, Namespace("2") as two, Namespace("3") as three:
        two.sysctl("net.ipv6.icmp.echo_ignore_all", 1)
        with Links(near) as links:
            for name, far in ((ANSWERING, one), (SILENT, two), (EMPTY, three)):
                links.add_veth(name, far, "eth0")
                with Links(far) as ends:
                    if far is not three:
                        ends.add_address("eth0", f"{PEER}/64")
                    ends.set_up("eth0")
                links.set_up(name)
            for name, far in ((ANSWERING, one), (SILENT, two), (EMPTY, three)):
                links.add_address(name, "fe80::1/64")
                links.wait_until_usable(name)
                with Links(far) as ends:
                    ends.wait_until_usable("eth0")
        yield near


@pytest.mark.parametrize("source", ["tracepoint", "socket"])
@pytest.mark.parametrize(
    ("interface", "status", "result", "error"),
    [
        (ANSWERING, 0, "reply", ""),
        (SILENT, 1, "lost_network", ""),
        (EMPTY, 1, "unreachable", "no_neighbour"),
    ],
)
def test_ping_asks_the_peer_of_that_link(
    node: Namespace, interface: str, status: int, result: str, error: str, source: str
) -> None:
    """11 echoes: one peer answers, one does not, and of the third link nobody has the address."""
    options = ("--source", source, "-c", "11", "-i", "0.05", "-W", "0.3")
    document = ping_json(node, f"{PEER}%{interface}", *options, status=status)
    assert Counter((probe["result"], probe["error"]) for probe in document["probes"]) == {(result, error): 11}


def test_agent_refuses_a_link_local_peer(node: Namespace, tmp_path: Path) -> None:
    """Every node has its own names of interfaces. The error names file, line and field, and what to write instead."""
    with RunningAgent(node, tmp_path, [entry("node2", f"{PEER}%{ANSWERING}")], wait=False) as agent:
        assert agent.process.wait(timeout=60) == 2
        assert f"addresses: '{PEER}%{ANSWERING}' is link-local; give an address that all nodes can reach" in agent.log()
