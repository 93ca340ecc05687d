"""From EndpointSlices to peers: every shape that the API allows, and some that it does not."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.discovery.endpointslices import Slice, endpoints_of, membership_of
from monlat_ebpf.model import Peer

Json = dict[str, Any]


def entry(node: str | None, address: str, **fields: Any) -> Json:
    return {"nodeName": node, "addresses": [address], "zone": "a", **fields}


def leaving(*, serving: bool) -> Json:
    return {"ready": True, "serving": serving, "terminating": True}


def read(*entries: Any, kind: str = "IPv4") -> Slice:
    """The endpoints of a slice all of which can be read."""
    endpoints, trouble = endpoints_of({"addressType": kind, "endpoints": list(entries)})
    assert trouble == []
    return endpoints


def peers(*slices: Slice, node: str = "me") -> tuple[Peer, ...]:
    return membership_of(slices, node).peers


def peer(name: str, *addresses: str, zone: str = "a") -> Peer:
    return Peer(name, tuple(ip_address(address) for address in addresses), zone)


def test_both_families_of_a_node_are_one_peer_ipv4_first() -> None:
    """Slices come by family; whichever comes first, the node is one peer with its IPv4 address first."""
    four = read(entry("n1", "10.0.0.1"))
    six = read(entry("n1", "fd00::1"), kind="IPv6")
    assert peers(six, four) == (peer("n1", "10.0.0.1", "fd00::1"),)


def test_a_node_with_ipv6_alone_is_a_peer() -> None:
    """A cluster of one family needs no other."""
    assert peers(read(entry("n1", "fd00::1"), kind="IPv6")) == (peer("n1", "fd00::1"),)


def test_peers_are_sorted_by_name_whatever_the_order_of_slices() -> None:
    """The same nodes make the same list."""
    one, two = read(entry("n3", "10.0.0.3"), entry("n1", "10.0.0.1")), read(entry("n2", "10.0.0.2"))
    assert [each.name for each in peers(one, two)] == ["n1", "n2", "n3"]
    assert peers(one, two) == peers(two, one)


def test_this_node_is_no_peer_but_tells_its_zone() -> None:
    """Nobody probes itself; from_zone is known all the same."""
    found = membership_of([read(entry("me", "10.0.0.1", zone="b"), entry("n1", "10.0.0.2"))], "me")
    assert found.peers == (peer("n1", "10.0.0.2"),)
    assert found.own_zone == "b"


def test_a_node_that_is_not_ready_is_measured() -> None:
    """An agent that is not ready is still on a node to measure."""
    conditions = {"ready": True, "serving": False, "terminating": False}
    assert peers(read(entry("n1", "10.0.0.1", conditions=conditions))) == (peer("n1", "10.0.0.1"),)


def test_a_terminating_node_stays_as_long_as_it_serves() -> None:
    """A rolling update of the agents loses no node; one that is gone is lost."""
    assert peers(read(entry("n1", "10.0.0.1", conditions=leaving(serving=True)))) == (peer("n1", "10.0.0.1"),)
    assert peers(read(entry("n1", "10.0.0.1", conditions=leaving(serving=False)))) == ()


@pytest.mark.parametrize(
    "conditions",
    [None, {}, {"ready": None}, {"ready": True}, {"ready": False}, {"serving": None, "terminating": None}],
)
def test_conditions_that_are_missing_mean_a_node_to_measure(conditions: Json | None) -> None:
    """The API says that what is unknown is ready, serving and not terminating."""
    assert peers(read(entry("n1", "10.0.0.1", conditions=conditions))) == (peer("n1", "10.0.0.1"),)


def test_the_endpoint_that_serves_wins_over_the_one_that_leaves() -> None:
    """While a node's agent is replaced, or the node itself under the same name, the new address counts at once."""
    old = entry("n1", "10.0.0.1", conditions=leaving(serving=True))
    unready = entry("n1", "10.0.0.2", conditions={"serving": False})
    new = entry("n1", "10.0.0.3", conditions={"serving": True})
    assert peers(read(old, new, unready)) == (peer("n1", "10.0.0.3"),)
    assert peers(read(old, unready)) == (peer("n1", "10.0.0.2"),)


def test_an_endpoint_in_two_slices_counts_once() -> None:
    """Endpoints move between slices, and are in both for a moment."""
    assert peers(read(entry("n1", "10.0.0.1")), read(entry("n1", "10.0.0.1"))) == (peer("n1", "10.0.0.1"),)


def test_of_equal_endpoints_the_lowest_address_is_taken() -> None:
    """Whatever the order: 10.0.0.9 is lower than 10.0.0.10, as a number."""
    low, high = read(entry("n1", "10.0.0.9")), read(entry("n1", "10.0.0.10"))
    assert peers(low, high) == peers(high, low) == (peer("n1", "10.0.0.9"),)


def test_an_address_belongs_to_one_node() -> None:
    """A new node that took over an address has it, although the old node's endpoint lingers."""
    gone = entry("a-old", "10.0.0.1", conditions={"serving": False})
    assert peers(read(gone, entry("z-new", "10.0.0.1"))) == (peer("z-new", "10.0.0.1"),)
    assert peers(read(entry("n1", "10.0.0.1"), entry("n2", "10.0.0.1"))) == (peer("n1", "10.0.0.1"),)


def test_this_nodes_own_address_is_nobody_elses() -> None:
    """Under a name that this node had before, its address would be probed through loopback."""
    former = read(entry("a-former-name", "10.0.0.1"), entry("me", "10.0.0.1", conditions={"serving": False}))
    assert peers(former) == ()


def test_an_unused_address_is_free_for_another_node() -> None:
    """A claim that loses within its own node holds no address back."""
    assert peers(read(entry("n1", "10.0.0.1"), entry("n1", "10.0.0.2"), entry("n2", "10.0.0.2"))) == (
        peer("n1", "10.0.0.1"),
        peer("n2", "10.0.0.2"),
    )


@pytest.mark.parametrize("addresses", [None, [], [""], [None]])
def test_an_address_that_is_not_there_yet_is_waited_for(addresses: Any) -> None:
    """A pod has no address before its network is up: no peer, and nothing wrong."""
    assert read({"nodeName": "n1", "addresses": addresses}) == ()


def test_only_the_first_address_counts() -> None:
    """The API gives no meaning to any further one."""
    assert peers(read({"nodeName": "n1", "addresses": ["10.0.0.2", "10.0.0.1"]})) == (peer("n1", "10.0.0.2", zone=""),)


@pytest.mark.parametrize("raw", [{"addressType": "IPv4"}, {"addressType": "IPv4", "endpoints": None}])
def test_a_slice_without_endpoints_has_none(raw: Json) -> None:
    """Go writes an empty list as null."""
    assert endpoints_of(raw) == ((), [])


def test_slices_of_host_names_are_left_out() -> None:
    """There is no address in them to probe."""
    assert read(entry("n1", "node.example.org"), kind="FQDN") == ()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("text", "is not an object"),
        (entry(None, "10.0.0.2"), "nodeName is None"),
        (entry("", "10.0.0.2"), "is empty"),
        (entry("x" * 254, "10.0.0.2"), "254 bytes"),
        (entry("n\n2", "10.0.0.2"), "does not print"),
        (entry("n2", "10.0.0.256"), "'10.0.0.256' is not an address"),
        (entry("n2", "fd00::2"), "not of the slice's family"),
        (entry("n2", "0.0.0.0"), "no node's address"),
        (entry("n2", "127.0.0.1"), "no node's address"),
        (entry("n2", "169.254.0.1"), "no node's address"),
        (entry("n2", "224.0.0.1"), "no node's address"),
        (entry("n2", "10.0.0.2", zone=7), "zone 7"),
        (entry("n2", "10.0.0.2", conditions=[]), "conditions"),
        ({"nodeName": "n2", "addresses": "10.0.0.2"}, "addresses is not a list"),
        ({"nodeName": "n2", "addresses": [10]}, "10 is not an address"),
    ],
)
def test_what_cannot_be_read_is_told_and_the_rest_counts(wrong: Any, why: str) -> None:
    """One wrong entry costs no other node."""
    raw = {"addressType": "IPv4", "endpoints": [entry("n1", "10.0.0.1"), wrong, entry("n3", "10.0.0.3")]}
    endpoints, trouble = endpoints_of(raw)
    assert [each.node for each in endpoints] == ["n1", "n3"]
    assert len(trouble) == 1
    assert str(trouble[0]).startswith("endpoints[1]: ")
    assert why in str(trouble[0])


@pytest.mark.parametrize("raw", [{}, {"addressType": 4}, {"addressType": "IPv4", "endpoints": {}}])
def test_a_slice_of_the_wrong_shape_is_told(raw: Json) -> None:
    """A slice that is none has no endpoints."""
    endpoints, trouble = endpoints_of(raw)
    assert endpoints == ()
    assert len(trouble) == 1


def test_a_thousand_nodes_in_both_families() -> None:
    """1009 nodes in slices of a hundred, as the controller writes them."""
    fours = [entry(f"n{number:04}", f"10.1.{number // 250}.{number % 250 + 1}") for number in range(1009)]
    sixes = [entry(f"n{number:04}", f"fd00::{number + 1:x}") for number in range(1009)]
    slices = [read(*fours[start : start + 100]) for start in range(0, 1009, 100)]
    slices += [read(*sixes[start : start + 100], kind="IPv6") for start in range(0, 1009, 100)]
    found = peers(*slices, node="n0500")
    assert len(found) == 1008
    assert found[0] == peer("n0000", "10.1.0.1", "fd00::1")
    assert found[-1] == peer("n1008", "10.1.4.9", "fd00::3f1")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["10.0.0.1", "fd00::1", "n1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["nodeName", "addresses", "conditions", "serving", "zone"]), inner, max_size=4
        )
    ),
    max_leaves=9,
)


@given(kind=st.sampled_from(["IPv4", "IPv6", "FQDN", 7]), endpoints=anything | st.lists(anything, max_size=4))
def test_no_json_whatever_ends_discovery(kind: Any, endpoints: Any) -> None:
    """What is read has a name and an address of its slice's family; all the rest is told or left out."""
    found, _ = endpoints_of({"addressType": kind, "endpoints": endpoints})
    for each in membership_of([found], "me").peers:
        assert each.name
        assert [f"IPv{address.version}" for address in each.addresses] == [kind]
