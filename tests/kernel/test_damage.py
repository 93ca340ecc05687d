"""What the demo breaks: packets that are late or lost, in one direction, between some nodes. ping is the witness."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed.damage import Damage
from monlat_ebpf.testbed.network import SWITCH_ADDRESS, Cluster, Node

DELAY_SECONDS = 0.02
PINGS = 23


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(4) as cluster:
        yield cluster


def ping(sender: Node, address: str, count: int = PINGS) -> tuple[int, float]:
    """Return how many pings were answered, and the least RTT in seconds (0 without an answer)."""
    done = sender.namespace.run(["ping", "-q", "-c", str(count), "-i", "0.01", "-W", "1", address])
    received = re.search(r"(\d+) received", done.stdout)
    assert received, done.stdout + done.stderr
    least = re.search(r"min/avg/max/mdev = ([\d.]+)/", done.stdout)
    return int(received[1]), float(least[1]) / 1e3 if least else 0.0


def test_delay_is_of_the_packets_between_these_nodes(cluster: Cluster) -> None:
    """Every packet of node1 to node2 takes 20 ms longer, requests and replies; no packet to node3 and to the switch."""
    one, two, three, _ = cluster
    cluster.join_switch()
    with Damage(cluster, [one], [two], delay_seconds=DELAY_SECONDS):
        for sender, peer in ((one, two), (two, one)):
            received, least = ping(sender, peer.ipv4)
            assert (received, least >= DELAY_SECONDS) == (PINGS, True)
        for address in (three.ipv4, SWITCH_ADDRESS):
            received, least = ping(one, address)
            assert (received, least < DELAY_SECONDS) == (PINGS, True)
    received, least = ping(one, two.ipv4)
    assert (received, least < DELAY_SECONDS) == (PINGS, True)


def test_delay_in_both_directions_adds_up(cluster: Cluster) -> None:
    """Nodes of two zones: the request is 20 ms late and the reply, too."""
    one, two, three, four = cluster
    with Damage(cluster, [one, two, three, four], [one, two, three, four], delay_seconds=DELAY_SECONDS):
        received, least = ping(one, four.ipv4)
        assert (received, least >= 2 * DELAY_SECONDS) == (PINGS, True)


def test_cut_is_one_way(cluster: Cluster) -> None:
    """node1's packets to node2 are lost, so neither gets replies; node2's requests arrive and node1's others, too."""
    one, two, three, _ = cluster
    with Damage(cluster, [one], [two], loss=1.0):
        before = _requests_received(one)
        assert ping(one, two.ipv4, 3)[0] == 0
        assert ping(two, one.ipv4, 3)[0] == 0
        assert _requests_received(one) == before + 3
        assert ping(one, three.ipv4)[0] == PINGS
    assert ping(one, two.ipv4)[0] == PINGS


def _requests_received(node: Node) -> int:
    """Echo requests that the node's stack has received, as the kernel counts them."""
    head, counts = (
        line.split()
        for line in node.namespace.run(["cat", "/proc/net/snmp"]).stdout.splitlines()
        if line[:5] == "Icmp:"
    )
    return int(counts[head.index("InEchos")])


def test_share_of_packets_is_lost(cluster: Cluster) -> None:
    """A fifth of 401, each by its own chance: 6 standard deviations of 8 around 321."""
    one, two, *_ = cluster
    with Damage(cluster, [one], [two], loss=0.2):
        received, _ = ping(one, two.ipv4, 401)
    assert 321 - 48 < received < 321 + 48


def test_node_of_another_cluster_is_an_error(cluster: Cluster) -> None:
    """It has no port in the switch. Nothing is left in the way of the nodes."""
    one, two, *_ = cluster
    stranger = Node("node99", one.namespace, "10.77.0.99", "fd77::63")
    with pytest.raises(TestbedError, match="cannot read the ports of namespace switch"):
        Damage(cluster, [stranger], [two], delay_seconds=DELAY_SECONDS).__enter__()
    assert ping(one, two.ipv4)[0] == PINGS
