"""is_local, in a namespace with known addresses."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from monlat_ebpf.host.addresses import is_local
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


def test_address_is_local_only_in_its_own_namespace(pair: Pair) -> None:
    """In node2's namespace, node2's address is local and node1's is not."""
    with pair["node2"].namespace.entered():
        assert is_local(ip_address("10.77.0.2"))
        assert not is_local(ip_address("10.77.0.1"))


def test_ipv4_mapped_address_is_recognised(pair: Pair) -> None:
    """Python and the kernel format ::ffff:10.77.0.1 differently; they are compared as addresses."""
    with pair["node1"].namespace.entered():
        assert is_local(ip_address("::ffff:10.77.0.1"))
        assert not is_local(ip_address("::ffff:10.77.0.2"))
