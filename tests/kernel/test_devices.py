"""Stacks of devices: the stamp is taken nearest to the wire, and every packet counts once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from monlat_ebpf.model import Peer, Result
from monlat_ebpf.testbed.namespace import Namespace
from testkit.links import Links, why_no_link_kind
from tests.kernel.measuring import SLOWDOWN, Measurement, unseen

PROBES = 53
INTERVAL_SECONDS, TIMEOUT_SECONDS = 0.03 * SLOWDOWN, 0.4 * SLOWDOWN
NEAR, FAR = ("10.78.0.1/24", "fd78::1/64"), ("10.78.0.2/24", "fd78::2/64")
PEER = Peer("far", (ip_address("10.78.0.2"), ip_address("fd78::2")))


def veth(links: Links) -> str:
    """The wire itself."""
    return "wire0"


def bridge(links: Links) -> str:
    """A bridge with the wire for its port, as on a virtual machine host."""
    links.add_bridge("br0")
    links.set_master("wire0", "br0")
    return "br0"


def vlan(links: Links) -> str:
    """VLAN 7 on the wire."""
    links.add_vlan("wire0.7", "wire0", 7)
    return "wire0.7"


def bond(links: Links) -> str:
    """An active-backup bond with the wire for its member."""
    links.set_up("wire0", False)
    links.add_bond("bond0", ["wire0"])
    return "bond0"


def vlan_on_bridge(links: Links) -> str:
    """VLAN 7 on a bridge: three devices in the stack."""
    bridge(links)
    links.set_up("br0")
    links.add_vlan("br0.7", "br0", 7)
    return "br0.7"


STACKS: dict[Callable[[Links], str], str] = {
    veth: "",
    bridge: "",
    vlan: why_no_link_kind("vlan"),
    bond: why_no_link_kind("bond"),
    vlan_on_bridge: why_no_link_kind("vlan"),
}
"""Functions that build a stack on `wire0` and return its top device, and why this kernel cannot ("" if it can)."""

MEASURED = [stack for stack, reason in STACKS.items() if not reason]


@contextmanager
def two_nodes(stack: Callable[[Links], str]) -> Iterator[Namespace]:
    """Two namespaces with the same stack on both ends of one wire; the near one is yielded."""
    with Namespace("near") as near, Namespace("far") as far:
        with Links(near) as links:
            links.add_veth("wire0", far, "wire0")
        tops = []
        for namespace in (near, far):
            with Links(namespace) as links:
                top = stack(links)
                links.set_up("wire0")
                links.set_up(top)
                tops.append(top)
        for namespace, top, addresses in zip((near, far), tops, (NEAR, FAR), strict=True):
            with Links(namespace) as links:
                for address in addresses:
                    links.add_address(top, address)
                links.wait_until_usable(top, [address.split("/")[0] for address in addresses])
        yield near


@pytest.mark.parametrize("stack", MEASURED, ids=lambda stack: stack.__name__)
def test_stack_is_stamped_at_the_wire_and_counts_once(stack: Callable[[Links], str]) -> None:
    """53 probes of each family: 106 replies, all stamped at the wire's device, and no duplicate."""
    with (
        two_nodes(stack) as near,
        Measurement(
            near, [PEER], probes=PROBES, interval_seconds=INTERVAL_SECONDS, timeout_seconds=TIMEOUT_SECONDS
        ) as measurement,
    ):
        measurement.wait()
        pairs = measurement.pairs()
    assert measurement.results() == {Result.REPLY: 2 * PROBES}
    assert measurement.unexplained() == {}
    assert {pair.device for pair in pairs} == {"wire0"}
    assert [pair.duplicates for pair in pairs] == [0, 0]
    assert all(pair.rtt.count >= pair.results[Result.REPLY] - unseen(PROBES) for pair in pairs)


def test_only_stacks_that_the_kernel_lacks_are_left_out() -> None:
    """The kernel refuses to make each stack that is not measured above."""
    for stack, reason in STACKS.items():
        if reason:
            with Namespace("near") as near, Namespace("far") as far, Links(near) as links:
                links.add_veth("wire0", far, "wire0")
                with pytest.raises(Exception, match=r"(?i)not supported|unknown|no such"):
                    stack(links)


def test_loopback_is_measured() -> None:
    """29 probes to 127.0.0.1 and to ::1 each: request and reply pass the same device and are told apart."""
    peer = Peer("self", (ip_address("127.0.0.1"), ip_address("::1")))
    with (
        Namespace("alone") as namespace,
        Measurement(
            namespace, [peer], probes=29, interval_seconds=INTERVAL_SECONDS, timeout_seconds=TIMEOUT_SECONDS
        ) as measurement,
    ):
        measurement.wait()
        pairs = measurement.pairs()
    assert measurement.results() == {Result.REPLY: 58}
    assert {pair.device for pair in pairs} == {"lo"}
    assert [pair.duplicates for pair in pairs] == [0, 0]
    assert measurement.unexplained() == {}
