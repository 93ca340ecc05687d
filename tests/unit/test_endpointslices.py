"""EndpointSlices to peers: every form that the API allows, and some that it does not."""

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
    """Return the endpoints of a valid slice."""
    endpoints, errors = endpoints_of({"addressType": kind, "endpoints": list(entries)})
    assert errors == []
    return endpoints


def peers(*slices: Slice, node: str = "me") -> tuple[Peer, ...]:
    return membership_of(slices, node).peers


def peer(name: str, *addresses: str, zone: str = "a") -> Peer:
    return Peer(name, tuple(ip_address(address) for address in addresses), zone)


def test_both_families_of_a_node_are_one_peer_ipv4_first() -> None:
    """Each family has its own slices. In either order, the node is one peer, with its IPv4 address first."""
    four = read(entry("n1", "10.0.0.1"))
    six = read(entry("n1", "fd00::1"), kind="IPv6")
    assert peers(six, four) == (peer("n1", "10.0.0.1", "fd00::1"),)


def test_node_with_only_ipv6_is_a_peer() -> None:
    """A cluster may have only one family."""
    assert peers(read(entry("n1", "fd00::1"), kind="IPv6")) == (peer("n1", "fd00::1"),)


def test_peers_are_sorted_by_name() -> None:
    """The order of slices does not matter."""
    one, two = read(entry("n3", "10.0.0.3"), entry("n1", "10.0.0.1")), read(entry("n2", "10.0.0.2"))
    assert [each.name for each in peers(one, two)] == ["n1", "n2", "n3"]
    assert peers(one, two) == peers(two, one)


def test_this_node_is_not_a_peer_but_gives_its_zone() -> None:
    """Its own endpoint is used for from_zone only."""
    found = membership_of([read(entry("me", "10.0.0.1", zone="b"), entry("n1", "10.0.0.2"))], "me")
    assert found.peers == (peer("n1", "10.0.0.2"),)
    assert found.own_zone == "b"


def test_node_whose_agent_is_not_ready_is_a_peer() -> None:
    """The node can be measured although its agent is not ready."""
    conditions = {"ready": True, "serving": False, "terminating": False}
    assert peers(read(entry("n1", "10.0.0.1", conditions=conditions))) == (peer("n1", "10.0.0.1"),)


def test_terminating_endpoint_is_a_peer_while_it_serves() -> None:
    """A rolling update of the agents loses no node. An endpoint that no longer serves is gone."""
    assert peers(read(entry("n1", "10.0.0.1", conditions=leaving(serving=True)))) == (peer("n1", "10.0.0.1"),)
    assert peers(read(entry("n1", "10.0.0.1", conditions=leaving(serving=False)))) == ()


@pytest.mark.parametrize(
    "conditions",
    [None, {}, {"ready": None}, {"ready": True}, {"ready": False}, {"serving": None, "terminating": None}],
)
def test_missing_conditions_mean_serving(conditions: Json | None) -> None:
    """The API defines the defaults: ready, serving, not terminating."""
    assert peers(read(entry("n1", "10.0.0.1", conditions=conditions))) == (peer("n1", "10.0.0.1"),)


def test_serving_endpoint_is_preferred_to_a_leaving_one() -> None:
    """While an agent is replaced, or a node under the same name, the new address is used at once."""
    old = entry("n1", "10.0.0.1", conditions=leaving(serving=True))
    unready = entry("n1", "10.0.0.2", conditions={"serving": False})
    new = entry("n1", "10.0.0.3", conditions={"serving": True})
    assert peers(read(old, new, unready)) == (peer("n1", "10.0.0.3"),)
    assert peers(read(old, unready)) == (peer("n1", "10.0.0.2"),)


def test_endpoint_in_two_slices_counts_once() -> None:
    """An endpoint that moves to another slice is in both for a moment."""
    assert peers(read(entry("n1", "10.0.0.1")), read(entry("n1", "10.0.0.1"))) == (peer("n1", "10.0.0.1"),)


def test_lowest_address_is_used_among_equal_endpoints() -> None:
    """Compared as a number, 10.0.0.9 is lower than 10.0.0.10. The order of slices does not matter."""
    low, high = read(entry("n1", "10.0.0.9")), read(entry("n1", "10.0.0.10"))
    assert peers(low, high) == peers(high, low) == (peer("n1", "10.0.0.9"),)


def test_address_belongs_to_one_node() -> None:
    """A new node gets the address although the endpoint of the old node still exists."""
    gone = entry("a-old", "10.0.0.1", conditions={"serving": False})
    assert peers(read(gone, entry("z-new", "10.0.0.1"))) == (peer("z-new", "10.0.0.1"),)
    assert peers(read(entry("n1", "10.0.0.1"), entry("n2", "10.0.0.1"))) == (peer("n1", "10.0.0.1"),)


def test_address_of_two_nodes_is_a_warning_unless_one_is_leaving() -> None:
    """While a node is replaced under a new name, both have its address for a moment."""
    new = entry("z-new", "10.0.0.1")
    shared = membership_of([read(entry("a-old", "10.0.0.1", conditions={"serving": False}), new)], "me")
    assert shared.warnings == ("10.0.0.1 of a-old belongs to z-new, and is not probed for a-old",)
    replaced = membership_of([read(entry("a-old", "10.0.0.1", conditions=leaving(serving=True)), new)], "me")
    assert replaced.warnings == ()


def test_own_addresses_are_those_of_this_nodes_endpoints() -> None:
    """IPv4 first; without an endpoint there are none."""
    four, six = read(entry("me", "10.0.0.1")), read(entry("me", "fd00::1"), kind="IPv6")
    assert membership_of([six, four], "me").own_addresses == (ip_address("10.0.0.1"), ip_address("fd00::1"))
    assert membership_of([six, four], "n1").own_addresses == ()


def test_this_nodes_own_address_is_never_a_peers() -> None:
    """An endpoint under this node's former name would be probed through loopback."""
    former = read(entry("a-former-name", "10.0.0.1"), entry("me", "10.0.0.1", conditions={"serving": False}))
    assert peers(former) == ()


def test_unused_address_of_a_node_is_free_for_another_node() -> None:
    """n1 uses its first address, so its second one can belong to n2."""
    assert peers(read(entry("n1", "10.0.0.1"), entry("n1", "10.0.0.2"), entry("n2", "10.0.0.2"))) == (
        peer("n1", "10.0.0.1"),
        peer("n2", "10.0.0.2"),
    )


@pytest.mark.parametrize("addresses", [None, [], [""], [None]])
def test_endpoint_without_an_address_is_skipped(addresses: Any) -> None:
    """A pod has no address before its network is up. That is not an error."""
    assert read({"nodeName": "n1", "addresses": addresses}) == ()


def test_only_the_first_address_counts() -> None:
    """The API gives no meaning to further addresses."""
    assert peers(read({"nodeName": "n1", "addresses": ["10.0.0.2", "10.0.0.1"]})) == (peer("n1", "10.0.0.2", zone=""),)


@pytest.mark.parametrize("raw", [{"addressType": "IPv4"}, {"addressType": "IPv4", "endpoints": None}])
def test_slice_without_endpoints_is_empty(raw: Json) -> None:
    """Go writes an empty list as null."""
    assert endpoints_of(raw) == ((), [])


def test_slices_of_host_names_are_skipped() -> None:
    """They contain no address to probe."""
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
        (entry("n2", "fd00::2"), "is not an IPv4 address"),
        (entry("n2", "0.0.0.0"), "cannot be a node's address"),
        (entry("n2", "127.0.0.1"), "cannot be a node's address"),
        (entry("n2", "169.254.0.1"), "cannot be a node's address"),
        (entry("n2", "224.0.0.1"), "cannot be a node's address"),
        (entry("n2", "10.0.0.2", zone=7), "zone 7"),
        (entry("n2", "10.0.0.2", conditions=[]), "conditions"),
        ({"nodeName": "n2", "addresses": "10.0.0.2"}, "addresses is not a list"),
        ({"nodeName": "n2", "addresses": [10]}, "10 is not an address"),
    ],
)
def test_unreadable_entry_is_reported_and_the_others_count(wrong: Any, why: str) -> None:
    """One wrong entry affects no other node."""
    raw = {"addressType": "IPv4", "endpoints": [entry("n1", "10.0.0.1"), wrong, entry("n3", "10.0.0.3")]}
    endpoints, errors = endpoints_of(raw)
    assert [each.node for each in endpoints] == ["n1", "n3"]
    assert len(errors) == 1
    assert str(errors[0]).startswith("endpoints[1]: ")
    assert why in str(errors[0])


@pytest.mark.parametrize("raw", [{}, {"addressType": 4}, {"addressType": "IPv4", "endpoints": {}}])
def test_slice_of_the_wrong_form_is_reported(raw: Json) -> None:
    """It gives no endpoints and one error."""
    endpoints, errors = endpoints_of(raw)
    assert endpoints == ()
    assert len(errors) == 1


def test_a_thousand_nodes_in_both_families() -> None:
    """1,009 nodes in slices of a hundred, as the controller writes them."""
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
def test_arbitrary_json_raises_nothing(kind: Any, endpoints: Any) -> None:
    """Every peer has a name and an address of the family of its slice. All other input is skipped."""
    found, _ = endpoints_of({"addressType": kind, "endpoints": endpoints})
    for each in membership_of([found], "me").peers:
        assert each.name
        assert [f"IPv{address.version}" for address in each.addresses] == [kind]
