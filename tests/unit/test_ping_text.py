"""The lines of `monlat ping`, as text."""

from __future__ import annotations

from ipaddress import ip_address

from monlat_ebpf.cli.ping_text import closing, heading, line
from monlat_ebpf.cli.screen import as_text
from monlat_ebpf.model import Result
from monlat_ebpf.ping.events import Duplicate, Ended, Event, Late
from monlat_ebpf.ping.report import Head, summary

HEAD = Head("node2", ip_address("10.0.0.2"), "tracepoint", "")
ROUTER = ip_address("10.0.0.254")
EVENTS: tuple[Event, ...] = (
    Ended(0, Result.REPLY, 43_000, 81_000, 212_000),
    Ended(1, Result.LOST_NETWORK, None, 60_000),
    Late(1, 1_210_000_000),
    Late(1, None),
    Ended(2, Result.UNREACHABLE, None, 60_000, None, "icmp_time_exceeded", ROUTER),
    Ended(3, Result.UNREACHABLE, None, 60_000, None, "icmp_time_exceeded"),
    Ended(4, Result.LOST_HOST),
    Ended(5, Result.SEND_ERROR, error="EPERM"),
    Duplicate(0),
    Ended(6, Result.REPLY, None, None, 212_000),
    Ended(7, Result.REPLY, 43_000, 81_000, None),
)


def test_a_line_for_each_event() -> None:
    """Times under their headings; problems in words, with the sender of an ICMP error where it is known."""
    lines = [*heading(HEAD, 0.2), *(line(event, 1.0) for event in EVENTS)]
    assert "\n".join(each.text for each in lines) == (
        "ping node2 (10.0.0.2), a probe each 200ms, source tracepoint; times in ms\n"
        "SEQUENCE  KERNEL RTT  SEND DELAY  USER SPACE RTT\n"
        "       0       0.043       0.081           0.212\n"
        "       1  lost in the network: no reply within 1s\n"
        "       1  late reply, after it was counted as lost: kernel RTT 1210 ms\n"
        "       1  late reply, after it was counted as lost\n"
        "       2  unreachable: icmp_time_exceeded from 10.0.0.254\n"
        "       3  unreachable: icmp_time_exceeded\n"
        "       4  lost on this host: no driver had it in time\n"
        "       5  not sent: Operation not permitted (EPERM)\n"
        "       0  duplicate reply\n"
        "       6    not seen    not seen           0.212\n"
        "       7       0.043       0.081        no reply"
    )
    assert [each.is_bad for each in lines] == [False, False, False] + [True] * 10


def test_a_source_that_is_not_the_first_choice_is_named_with_the_reason() -> None:
    """The reason stands above the times; an address as host is not written twice."""
    head = Head("10.0.0.2", ip_address("10.0.0.2"), "socket", "this kernel has no BTF")
    assert [each.text for each in heading(head, 1.0)][:2] == [
        "ping 10.0.0.2, a probe each 1s, source socket; times in ms",
        "not the tracepoint source: this kernel has no BTF",
    ]


def test_the_summary() -> None:
    """Eight ended and two in flight: where each was lost, and the times of those that have one."""
    ended = [event for event in EVENTS if isinstance(event, Ended)]
    sums = summary(ended, sent=10, in_flight=2, late=2, duplicates=1)
    assert as_text(closing(HEAD, sums)) == (
        "node2: 10 sent, 3 replies, 62.5% lost, 1 in the network, 1 on this host, 2 unreachable, 1 not sent, "
        "2 in flight, 2 late, 1 duplicates\n"
        "MS                MIN    P50    P99    MAX\n"
        "kernel RTT      0.043  0.043  0.043  0.043\n"
        "send delay      0.060  0.060  0.081  0.081\n"
        "user space RTT  0.212  0.212  0.212  0.212\n"
    )


def test_the_summary_of_no_probe() -> None:
    """Ctrl-C before the first reply: there is no percentage."""
    text = as_text(closing(HEAD, summary((), sent=1, in_flight=1, late=0, duplicates=0)))
    assert text.splitlines()[0] == "node2: 1 sent, 0 replies, none has ended, 1 in flight"
    assert text.splitlines()[2] == "kernel RTT        -    -    -    -"
