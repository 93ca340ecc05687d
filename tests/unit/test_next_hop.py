"""Losses on this host that the next hop explains."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from monlat_ebpf.host.next_hops import NextHopState
from monlat_ebpf.model import Address, Family, Result
from monlat_ebpf.probing.ledger import InFlight, Ledger, Outcome
from monlat_ebpf.probing.next_hop import explain_loss
from monlat_ebpf.probing.targets import Target, TargetKey, Wanted
from monlat_ebpf.sources import Destination

LOST = Outcome(7, Result.LOST_HOST)
NO_LINK_ADDRESS = Outcome(7, Result.UNREACHABLE, error="no_neighbour")
ABSENT, NO_ROOM, UNKNOWN = NextHopState.ABSENT, NextHopState.NO_ROOM, NextHopState.UNKNOWN
UNRESOLVED, USABLE = NextHopState.UNRESOLVED, NextHopState.USABLE


def target(address: str = "10.0.0.1") -> Target:
    parsed = ip_address(address)
    return Target(TargetKey("a", Family.of(parsed)), 0, Wanted(parsed, "", 0), Destination(parsed), bytes(16), Ledger())


def never_asked(address: Address) -> NextHopState:
    raise AssertionError(f"the kernel was asked about {address}")


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (UNRESOLVED, NO_LINK_ADDRESS),
        (USABLE, LOST),
        (ABSENT, LOST),
        (UNKNOWN, LOST),
        (NO_ROOM, Outcome(7, Result.LOST_HOST, error="arp_table_full")),
    ],
)
def test_state_of_the_next_hop_decides(state: NextHopState, outcome: Outcome) -> None:
    """Only an entry without a link address makes the loss that of the next hop."""
    assert explain_loss(target(), InFlight(7, 1_000, 2_000), LOST, lambda _address: state) == outcome


def test_full_table_is_named_by_family() -> None:
    """IPv6 has an NDP table."""
    outcome = explain_loss(target("fd00::1"), InFlight(7, 1_000, 2_000), LOST, lambda _address: NO_ROOM)
    assert outcome.error == "ndp_table_full"


def test_kernel_is_asked_once_for_all_probes_sent_before() -> None:
    """What it said holds for probes that had been sent by then; later ones need another answer."""
    asked = target()
    asked.unresolved_ns = 5_000
    for sent_ns in (4_000, 5_000):
        assert explain_loss(asked, InFlight(7, sent_ns, 9_000), LOST, never_asked) == NO_LINK_ADDRESS
    assert explain_loss(asked, InFlight(7, 5_001, 9_000), LOST, lambda _address: USABLE) == LOST


@pytest.mark.parametrize("state", [ABSENT, NO_ROOM])
def test_entry_that_the_kernel_removed_was_unresolved(state: NextHopState) -> None:
    """The kernel removes unresolved entries first. After a probe that reached a driver, that explains nothing."""
    gone = target()
    gone.unresolved_ns, gone.transmitted_ns = 5_000, 4_000
    assert explain_loss(gone, InFlight(7, 6_000, 9_000), LOST, lambda _address: state) == NO_LINK_ADDRESS
    gone.unresolved_ns, gone.transmitted_ns = 5_000, 5_500
    assert explain_loss(gone, InFlight(7, 6_000, 9_000), LOST, lambda _address: ABSENT) == LOST


def test_probe_that_left_too_late_waited_if_the_next_hop_was_unresolved() -> None:
    """The peer is back: the driver got the probe after its deadline. The kernel is not asked, it knows the peer now."""
    back, late = target(), Outcome(7, Result.LOST_HOST, send_delay_ns=1_500)
    assert explain_loss(back, InFlight(7, 1_000, 2_000), late, never_asked) == late
    back.unresolved_ns = 1_200
    outcome = explain_loss(back, InFlight(7, 1_000, 2_000), late, never_asked)
    assert outcome == Outcome(7, Result.UNREACHABLE, send_delay_ns=1_500, error="no_neighbour")
