"""Two views of one probe become one diagnosis."""

from __future__ import annotations

from ipaddress import ip_address

from monlat_ebpf.abi.probes import Completion
from monlat_ebpf.model import Family, Result
from monlat_ebpf.ping.events import Duplicate, Ended, Late, Pending
from monlat_ebpf.ping.user_space import Answer
from monlat_ebpf.probing.ledger import InFlight, Outcome

PEER, ROUTER = ip_address("10.0.0.2"), ip_address("10.0.0.254")
SENT_TIME = 1000.0
REPLY = Answer(7, True, PEER, SENT_TIME + 0.25)
ERROR = Answer(7, False, ROUTER, SENT_TIME + 0.5)


def pending() -> Pending:
    return Pending(slot=7, probe=InFlight(7, 1_000, 2_000), sent_time=SENT_TIME)


def test_a_reply_has_the_figures_of_both() -> None:
    """Kernel: 40 us and 5 us of delay; user space: a quarter of a second."""
    probe = pending()
    assert probe.note(REPLY) is None
    ended = probe.ended(Outcome(7, Result.REPLY, 40_000, 5_000), Family.IPV4)
    assert ended == Ended(7, Result.REPLY, 40_000, 5_000, 250_000_000)


def test_a_reply_that_user_space_never_saw_has_no_figure_of_it() -> None:
    """A firewall of this host drops it behind the driver: the kernel's figure stands alone."""
    assert pending().ended(Outcome(7, Result.REPLY, 40_000, 5_000), Family.IPV4).user_rtt_ns is None


def test_an_error_is_named_with_the_router_that_sent_it() -> None:
    """Type 11, code 0 is time exceeded; the sender is what user space read."""
    probe = pending()
    assert probe.note(ERROR) is None
    ended = probe.ended(Outcome(7, Result.UNREACHABLE, None, 5_000, error=(11, 0)), Family.IPV4)
    assert ended == Ended(7, Result.UNREACHABLE, None, 5_000, None, "icmp_time_exceeded", ROUTER)


def test_user_spaces_reply_does_not_count_when_the_kernel_calls_it_lost() -> None:
    """What came too late by the kernel's stamp has no RTT in either column."""
    probe = pending()
    probe.note(REPLY)
    assert probe.ended(Outcome(7, Result.LOST_NETWORK, None, 5_000), Family.IPV4).user_rtt_ns is None


def test_a_second_reply_is_a_duplicate_before_and_after_the_end() -> None:
    """Each one after the first."""
    probe = pending()
    probe.note(REPLY)
    assert probe.note(REPLY) == Duplicate(7)
    probe.ended(Outcome(7, Result.REPLY, 40_000), Family.IPV4)
    assert probe.after_its_end(REPLY, None) == Duplicate(7)


def test_the_first_reply_after_the_loss_is_late_with_the_kernels_rtt() -> None:
    """Sent at 1200, received at 9200: 8 us; the second is a duplicate."""
    probe = pending()
    probe.ended(Outcome(7, Result.LOST_NETWORK), Family.IPV4)
    assert probe.after_its_end(REPLY, Completion(1_200, 9_200, 1, 0, 0)) == Late(7, 8_000)
    assert probe.after_its_end(REPLY, Completion(1_200, 9_200, 1, 0, 0)) == Duplicate(7)


def test_a_late_reply_without_a_stamp_is_told_without_a_time() -> None:
    """The source has not noted it, or never will."""
    probe = pending()
    probe.ended(Outcome(7, Result.LOST_NETWORK), Family.IPV4)
    assert probe.after_its_end(REPLY, Completion(1_200, 0, 1, 0, 0)) == Late(7, None)


def test_an_error_after_the_end_says_nothing() -> None:
    """The probe has its result."""
    probe = pending()
    probe.ended(Outcome(7, Result.LOST_NETWORK), Family.IPV4)
    assert probe.after_its_end(ERROR, None) is None
