"""Which targets there should be."""

from __future__ import annotations

from ipaddress import ip_address

from monlat_ebpf.model import Family, Peer
from monlat_ebpf.probing.targets import TargetKey, Wanted, changes, phase

V4, V6 = Family.IPV4, Family.IPV6


def peer(name: str, *addresses: str, zone: str = "") -> Peer:
    return Peer(name, tuple(map(ip_address, addresses)), zone)


def test_a_target_for_each_address() -> None:
    """A peer of two families is two targets, ordered as its addresses are."""
    change = changes([], [peer("b", "fd77::2", "10.0.0.2", zone="z"), peer("a", "10.0.0.1")], 10)
    assert change.added == {
        TargetKey("b", V6): Wanted(ip_address("fd77::2"), "z", 0),
        TargetKey("b", V4): Wanted(ip_address("10.0.0.2"), "z", 1),
        TargetKey("a", V4): Wanted(ip_address("10.0.0.1"), "", 0),
    }
    assert (change.removed, change.kept, change.left_out) == ((), {}, ())


def test_targets_that_stay_go_and_come() -> None:
    """A new address or zone keeps the target; a family that is gone does not take the other with it."""
    current = [TargetKey("stays", V4), TargetKey("stays", V6), TargetKey("goes", V4)]
    change = changes(current, [peer("stays", "10.0.0.9", zone="new"), peer("comes", "fd77::3")], 10)
    assert change.removed == (TargetKey("goes", V4), TargetKey("stays", V6))
    assert change.kept == {TargetKey("stays", V4): Wanted(ip_address("10.0.0.9"), "new", 0)}
    assert change.added == {TargetKey("comes", V6): Wanted(ip_address("fd77::3"), "", 0)}


def test_no_peers_remove_all() -> None:
    """With an empty list, nothing is probed."""
    assert changes([TargetKey("a", V4), TargetKey("a", V6)], [], 10).removed == (TargetKey("a", V4), TargetKey("a", V6))


def test_of_too_many_peers_the_last_names_are_left_out() -> None:
    """There is room for three: the first three names, whatever order the list has. The rest are named."""
    change = changes([], [peer(name, "10.0.0.1", "fd77::1") for name in ("e", "c", "a", "d", "b")], 3)
    assert {key.peer for key in change.added} == {"a", "b", "c"}
    assert len(change.added) == 6
    assert change.left_out == ("d", "e")


def test_measured_peers_are_never_displaced_by_new_ones() -> None:
    """There is room for two: the two that are measured stay, though new names come before theirs."""
    current = [TargetKey("y", V4), TargetKey("z", V4)]
    change = changes(current, [peer(name, "10.0.0.1") for name in ("a", "b", "y", "z")], 2)
    assert set(change.kept) == set(current)
    assert (change.removed, change.added, change.left_out) == ((), {}, ("a", "b"))


def test_the_first_name_takes_the_room_of_a_peer_that_left() -> None:
    """One of two measured peers leaves; of two that were left out, the first by name is probed."""
    current = [TargetKey("y", V4), TargetKey("z", V4)]
    change = changes(current, [peer(name, "10.0.0.1") for name in ("b", "a", "z")], 2)
    assert (change.removed, tuple(change.added), change.left_out) == (
        (TargetKey("y", V4),),
        (TargetKey("a", V4),),
        ("b",),
    )


def test_phases_are_even() -> None:
    """5,003 peers spread over the interval: each tenth has a tenth of them, within a fifth of that."""
    phases = [phase("node", TargetKey(f"peer{number}", V4)) for number in range(5_003)]
    for tenth in range(10):
        assert 400 < sum(tenth / 10 <= value < (tenth + 1) / 10 for value in phases) < 600
    assert all(0 <= value < 1 for value in phases)


def test_agents_spread_their_probes_to_one_peer() -> None:
    """A thousand nodes probe one peer at times spread over the interval."""
    phases = [phase(f"node{number}", TargetKey("peer", V4)) for number in range(1_000)]
    for tenth in range(10):
        assert 50 < sum(tenth / 10 <= value < (tenth + 1) / 10 for value in phases) < 150


def test_phase_is_the_same_every_time_and_different_by_name() -> None:
    """Same names, same phase; either name, the family, or where one name ends and the other begins change it."""
    values = [
        phase("a", TargetKey("b", V4)),
        phase("a", TargetKey("b", V6)),
        phase("b", TargetKey("a", V4)),
        phase("ab", TargetKey("", V4)),
        phase("", TargetKey("ab", V4)),
    ]
    assert len(set(values)) == 5
    assert values[0] == phase("a", TargetKey("b", V4))
