"""How long a peer that left the list is still probed. The time is given; nothing sleeps."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.discovery.departures import Departures
from monlat_ebpf.model import Address, Peer


def peer(name: str, *addresses: str, zone: str = "") -> Peer:
    return Peer(name, tuple(map(ip_address, addresses)), zone)


A, B = peer("a", "10.0.0.1", zone="east"), peer("b", "10.0.0.2")


def test_departed_peer_stays_for_a_minute() -> None:
    """It leaves at 100 s: still there at 159.9 s, with its zone, and gone at 160 s. The other peer is not affected."""
    departures = Departures(60)
    assert departures.update([A, B], 0) == (A, B)
    for now in (100, 101, 159.9):
        assert departures.update([B], now) == (A, B)
    assert departures.update([B], 160) == (B,)


def test_replaced_pod_changes_nothing() -> None:
    """The node's endpoint leaves, and comes back 30 s later at the same address: the list is the same all the time."""
    departures = Departures(60)
    lists = [departures.update(listed, now) for listed, now in [([A], 0), ([], 10), ([], 39), ([A], 40), ([A], 500)]]
    assert lists == [(A,)] * 5


def test_time_begins_again_with_each_departure() -> None:
    """The node is away twice, for 40 s each: it never goes."""
    departures = Departures(60)
    for listed, now in [([A], 0), ([], 10), ([A], 50), ([], 60), ([], 100), ([A], 101)]:
        assert departures.update(listed, now) == (A,)


def test_address_taken_over_by_another_node_ends_it_at_once() -> None:
    """Otherwise its replies would be counted for the old node."""
    departures = Departures(60)
    departures.update([A, B], 0)
    successor = peer("c", "10.0.0.1")
    assert departures.update([B, successor], 1) == (B, successor)
    assert departures.update([B], 2) == (B, successor)


def test_address_of_a_departed_node_taken_over_by_this_node_ends_it_at_once() -> None:
    """This node is in the list like the others."""
    departures = Departures(60)
    departures.update([A, peer("me", "10.0.0.9")], 0)
    assert departures.update([peer("me", "10.0.0.1")], 1) == (peer("me", "10.0.0.1"),)


def test_new_address_of_the_node_replaces_the_old_one_at_once() -> None:
    """On the pod network, the next pod has another address. The node is one peer, with the new address."""
    departures = Departures(60)
    departures.update([A], 0)
    departures.update([], 1)
    moved = peer("a", "10.0.0.77", zone="east")
    assert departures.update([moved], 2) == (moved,)


def test_family_that_is_missing_for_a_moment_stays() -> None:
    """The slices of the two families change one after the other; IPv4 is before IPv6, as in the list."""
    departures = Departures(60)
    both = peer("a", "10.0.0.1", "fd00::1")
    departures.update([both], 0)
    assert departures.update([peer("a", "fd00::1")], 1) == (both,)
    assert departures.update([peer("a", "10.0.0.1")], 2) == (both,)
    assert departures.update([peer("a", "10.0.0.1")], 62) == (peer("a", "10.0.0.1"),)


def test_next_change_is_known() -> None:
    """Departures at 10 s and 25 s end at 70 s and 85 s; without any, the list holds for ever."""
    departures = Departures(60)
    departures.update([A, B], 0)
    assert departures.valid_seconds(5) is None
    departures.update([B], 10)
    assert departures.valid_seconds(10) == 60
    departures.update([], 25)
    assert departures.valid_seconds(25) == 45
    departures.update([], 70)
    assert departures.valid_seconds(70) == 15
    departures.update([], 85)
    assert departures.valid_seconds(85) is None


Step = tuple[int, dict[str, Address]]
steps = st.lists(
    st.tuples(
        st.integers(0, 70), st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3).map(lambda n: ip_address(n)))
    ),
    max_size=20,
)


@given(steps)
def test_no_address_is_probed_twice_or_too_long(history: list[Step]) -> None:
    """Whatever comes and goes: what is listed is there, no two peers share an address, nothing stays for 60 s."""
    departures, now, last_listed = Departures(60), 0, dict[str, int]()
    for pause, nodes in history:
        now += pause
        unique = {address: name for name, address in sorted(nodes.items(), reverse=True)}
        listed = [Peer(name, (address,)) for address, name in unique.items()]
        last_listed |= {each.name: now for each in listed}
        kept = departures.update(listed, now)
        addresses = [address for each in kept for address in each.addresses]
        assert len(addresses) == len(set(addresses))
        assert set(listed) <= set(kept)
        for each in kept:
            # a departure is seen at the first list without the node, so at most one pause after it was last listed
            assert each in listed or now - last_listed[each.name] < 60 + 70
