"""Two views of one probe are joined."""

from __future__ import annotations

from ipaddress import ip_address

from monlat_ebpf.abi.probes import Stamps
from monlat_ebpf.model import Result
from monlat_ebpf.ping.events import Duplicate, Ended, Late, UserView
from monlat_ebpf.ping.user_space import Answer
from monlat_ebpf.probing.ledger import Outcome

PEER, ROUTER = ip_address("10.0.0.2"), ip_address("10.0.0.254")
STAMPS = Stamps(nonce=9, sent_ns=1_000, transmitted_ns=1_200, received_ns=9_200)
REPLY = Answer(5, 7, True, PEER, 251_000)
ERROR = Answer(5, 7, False, ROUTER, 501_000)


def test_a_reply_has_the_times_of_both() -> None:
    """Kernel: 40 us and 5 us of delay. User space: sent at 1 us, read at 251 us."""
    view = UserView(7)
    assert view.add(REPLY, STAMPS) is None
    assert view.end(Outcome(7, Result.REPLY, 40_000, 5_000)) == Ended(7, Result.REPLY, 40_000, 5_000, 250_000)


def test_a_reply_that_user_space_never_saw_has_no_user_space_rtt() -> None:
    """A firewall of this host drops it behind the driver: only the kernel has a time."""
    view = UserView(7)
    assert not view.is_answered
    assert view.end(Outcome(7, Result.REPLY, 40_000, 5_000)).user_rtt_ns is None


def test_an_error_is_named_with_the_router_that_sent_it() -> None:
    """The kernel's view names the error; its sender is what user space read."""
    view = UserView(7)
    assert view.add(ERROR, STAMPS) is None
    assert view.is_answered
    ended = view.end(Outcome(7, Result.UNREACHABLE, None, 5_000, error="icmp_time_exceeded"))
    assert ended == Ended(7, Result.UNREACHABLE, None, 5_000, None, "icmp_time_exceeded", ROUTER)


def test_a_reply_that_the_kernel_calls_lost_has_no_user_space_rtt() -> None:
    """It came too late by the kernel's stamp."""
    view = UserView(7)
    view.add(REPLY, STAMPS)
    assert view.end(Outcome(7, Result.LOST_NETWORK, None, 5_000)).user_rtt_ns is None


def test_a_second_reply_is_a_duplicate_before_and_after_the_end() -> None:
    """Each one after the first."""
    view = UserView(7)
    view.add(REPLY, STAMPS)
    assert view.add(REPLY, STAMPS) == Duplicate(7)
    view.end(Outcome(7, Result.REPLY, 40_000))
    assert view.add(REPLY, STAMPS) == Duplicate(7)


def test_the_first_reply_after_the_loss_is_late_with_the_kernels_rtt() -> None:
    """Sent at 1200, received at 9200: 8 us; the second is a duplicate."""
    view = UserView(7)
    view.end(Outcome(7, Result.LOST_NETWORK))
    assert view.add(REPLY, STAMPS) == Late(7, 8_000)
    assert view.add(REPLY, STAMPS) == Duplicate(7)


def test_a_late_reply_without_a_stamp_has_no_rtt() -> None:
    """The source has not noted it, or never will."""
    view = UserView(7)
    view.end(Outcome(7, Result.LOST_NETWORK))
    assert view.add(REPLY, Stamps(9, 1_000, 1_200, 0)) == Late(7, None)


def test_an_error_after_the_end_is_no_event() -> None:
    """The probe has its result."""
    view = UserView(7)
    view.end(Outcome(7, Result.LOST_NETWORK))
    assert view.add(ERROR, STAMPS) is None
