"""Which addresses are a host's own, in a namespace whose addresses are known."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from monlat_ebpf.host.addresses import is_local
from monlat_ebpf.testbed.network import Pair


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with Pair() as made:
        yield made


@pytest.mark.parametrize("address", ["10.77.0.1", "fd77::1", "127.0.0.1", "::1"])
def test_own_addresses(pair: Pair, address: str) -> None:
    """Those of node1's device and of its loopback are node1's own."""
    with pair["node1"].namespace.entered():
        assert is_local(ip_address(address))


@pytest.mark.parametrize(
    "address", ["10.77.0.2", "fd77::2", "10.77.0.99", "192.0.2.1", "2001:db8::1", "10.77.0.255", "0.0.0.0", "fe80::1"]
)
def test_addresses_of_others(pair: Pair, address: str) -> None:
    """A neighbour's, nobody's, one without a route, a broadcast, the unspecified, one without a scope: none is."""
    with pair["node1"].namespace.entered():
        assert not is_local(ip_address(address))


def test_an_address_is_local_where_it_is(pair: Pair) -> None:
    """What is node2's own is so in node2's namespace alone."""
    with pair["node2"].namespace.entered():
        assert is_local(ip_address("10.77.0.2"))
        assert not is_local(ip_address("10.77.0.1"))


def test_the_way_an_address_is_written_does_not_matter(pair: Pair) -> None:
    """An IPv4 address in IPv6's clothes, which Python and the kernel spell differently, is recognised."""
    with pair["node1"].namespace.entered():
        assert is_local(ip_address("::ffff:10.77.0.1"))
        assert not is_local(ip_address("::ffff:10.77.0.2"))
