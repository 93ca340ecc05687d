"""is_local and routes, in namespaces with known addresses and routes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from monlat_ebpf.errors import RouteError
from monlat_ebpf.host.addresses import LocalAddresses, Route, default_routes, is_local, route_to
from testkit.links import Links
from testkit.pair import Pair


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with Pair() as made:
        yield made


@pytest.mark.parametrize("address", ["10.77.0.1", "fd77::1", "127.0.0.1", "::1"])
def test_addresses_of_own_devices_are_local(pair: Pair, address: str) -> None:
    """The addresses of eth0 and of loopback."""
    with pair["node1"].namespace.entered():
        assert is_local(ip_address(address))


@pytest.mark.parametrize(
    "address", ["10.77.0.2", "fd77::2", "10.77.0.99", "192.0.2.1", "2001:db8::1", "10.77.0.255", "0.0.0.0", "fe80::1"]
)
def test_other_addresses_are_not_local(pair: Pair, address: str) -> None:
    """Another node's, an unused one, no route, a broadcast, unspecified, link-local without a scope."""
    with pair["node1"].namespace.entered():
        assert not is_local(ip_address(address))


def test_second_address_of_a_network_is_local() -> None:
    """Whether or not other addresses can be bound, which are not local for that."""
    with Pair() as pair, Links(pair["node1"].namespace) as links:
        links.add_address("eth0", "10.77.0.31/24")
        for nonlocal_bind in (0, 1):
            pair["node1"].namespace.sysctl("net.ipv4.ip_nonlocal_bind", nonlocal_bind)
            with pair["node1"].namespace.entered():
                assert is_local(ip_address("10.77.0.31"))
                others = ("10.77.0.2", "10.77.0.99", "192.0.2.1", "10.77.0.255", "0.0.0.0", "224.0.0.1")
                assert not [address for address in others if is_local(ip_address(address))]


def test_address_is_local_only_in_its_own_namespace(pair: Pair) -> None:
    """In node2's namespace, node2's address is local and node1's is not."""
    with pair["node2"].namespace.entered():
        assert is_local(ip_address("10.77.0.2"))
        assert not is_local(ip_address("10.77.0.1"))


def test_local_addresses_are_remembered_for_a_minute() -> None:
    """An address that comes is seen 60 s after the first question; a new address is always asked about."""
    now = [1_000.0]
    first, second, third = (ip_address(f"10.77.0.{number}") for number in (1, 31, 32))
    with Pair() as pair, Links(pair["node1"].namespace) as links, pair["node1"].namespace.entered():
        known = LocalAddresses(lambda: now[0])
        assert known.among((first, second)) == {first}
        links.add_address("eth0", "10.77.0.31/24")
        links.add_address("eth0", "10.77.0.32/24")
        now[0] = 1_059.9
        assert known.among((first, second, third)) == {first, third}
        now[0] = 1_060.0
        assert known.among((second, third)) == {second, third}


def test_ipv4_mapped_address_is_recognised(pair: Pair) -> None:
    """Python and the kernel format ::ffff:10.77.0.1 differently; they are compared as addresses."""
    with pair["node1"].namespace.entered():
        assert is_local(ip_address("::ffff:10.77.0.1"))
        assert not is_local(ip_address("::ffff:10.77.0.2"))


def test_default_routes_with_the_least_metric() -> None:
    """IPv4 has two next hops, and IPv6 one. Routes with a larger metric and those that reject do not count."""
    with Pair() as pair, pair["node1"].namespace.entered():
        assert default_routes() == []
        for route in (
            "-4 default metric 9 nexthop via 10.77.0.7 dev eth0 nexthop via 10.77.0.8 dev eth0",
            "-4 default metric 10 via 10.77.0.9",
            "-4 unreachable default metric 1",
            "-6 default metric 500 via fe80::1 dev eth0",
            "-6 default metric 600 via fe80::2 dev eth0",
        ):
            family, *rest = route.split()
            done = pair["node1"].namespace.run(["ip", family, "route", "add", *rest])
            assert done.returncode == 0, done.stderr
        gateways = ("10.77.0.7", "10.77.0.8", "fe80::1")
        assert default_routes() == [Route("eth0", gateway, "") for gateway in gateways]


def test_route_to_a_link_local_address_leads_through_its_interface(pair: Pair) -> None:
    """By name or by index. Another interface has no route to it."""
    with pair["node1"].namespace.entered():
        assert route_to(ip_address("fe80::1%eth0")).device == "eth0"
        assert route_to(ip_address(f"fe80::1%{socket.if_nametoindex('eth0')}")).device == "eth0"
        with pytest.raises(RouteError, match=r"no route to fe80::1%99: "):
            route_to(ip_address("fe80::1%99"))
