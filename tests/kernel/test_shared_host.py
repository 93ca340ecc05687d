"""Agents that share a host, one of them in a pod's network: neither counts packets of the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

from monlat_ebpf.model import Peer, Result
from monlat_ebpf.testbed.namespace import Namespace
from testkit.links import Links
from testkit.waiting import wait_until
from tests.kernel.measuring import Measurement
from tests.kernel.reported_probes import rejected
from tests.kernel.two_agents import FOR_EVER

PROBES = 43
POD, HOST, FAR = ("10.78.1.2", "fd78:1::2"), ("10.78.2.1", "fd78:2::1"), ("10.78.2.2", "fd78:2::2")
GATEWAYS = ("10.78.1.1", "fd78:1::1")
LENGTHS = (24, 64)


def peer(name: str, addresses: tuple[str, str]) -> Peer:
    return Peer(name, tuple(map(ip_address, addresses)))


@contextmanager
def host_with_a_pod() -> Iterator[tuple[Namespace, Namespace, Namespace]]:
    """Yield pod, host and far node; the host forwards between the pod's wire and the far node's."""
    with ExitStack() as stack:
        pod, host, far = (stack.enter_context(Namespace(name)) for name in ("pod", "host", "far"))
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            host.sysctl(key, 1)
        inside, middle, outside = (stack.enter_context(Links(each)) for each in (pod, host, far))
        middle.add_veth("pod0", pod, "eth0")
        middle.add_veth("eth0", far, "eth0")
        ends = ((inside, "eth0", POD), (middle, "pod0", GATEWAYS), (middle, "eth0", HOST), (outside, "eth0", FAR))
        for links, name, addresses in ends:
            links.set_up(name)
            for address, length in zip(addresses, LENGTHS, strict=True):
                links.add_address(name, f"{address}/{length}")
        for links, name, addresses in ends:
            links.wait_until_usable(name, addresses)
        for links, nets, gateways in (
            (inside, ("10.78.2.0/24", "fd78:2::/64"), GATEWAYS),
            (outside, ("10.78.1.0/24", "fd78:1::/64"), HOST),
        ):
            for net, gateway in zip(nets, gateways, strict=True):
                links.add_route(net, gateway=gateway)
        yield pod, host, far


def test_agents_of_a_host_and_of_its_pod_count_their_own_packets_alone() -> None:
    """Both probe the far node, and it them: 43 replies of each family, nothing unmatched, none rejected."""
    with (
        host_with_a_pod() as (pod, host, far),
        Measurement(far, [peer("pod", POD), peer("host", HOST)], probes=FOR_EVER, interval_seconds=0.05) as away,
        Measurement(pod, [peer("far", FAR)], probes=FOR_EVER, interval_seconds=0.05) as in_pod,
        Measurement(host, [peer("far", FAR)], probes=FOR_EVER, interval_seconds=0.05) as on_host,
    ):
        agents = (away, in_pod, on_host)
        for agent in agents:
            wait_until(lambda agent=agent: min(pair.results[Result.REPLY] for pair in agent.pairs()) >= PROBES)  # type: ignore[misc]
        assert [agent.unexplained() for agent in agents] == [{}, {}, {}]
        assert [rejected(agent.source) for agent in agents] == [{}, {}, {}]
