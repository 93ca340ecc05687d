"""How bench/precision reads the output of the tools, and compares it with the reflector's records."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from bench.precision_result import Contender, Result, judge
from bench.tools.one_shot import replies_of_fping, replies_of_ping
from bench.tools.smokeping_prober import go_duration_ns
from bench.tools.tool import Sample
from bench.truth import Block, Errors, errors_by_tool_and_condition
from testkit.plan import PLAIN, Record

ASKED, OTHER = IPv4Address("10.99.1.1"), IPv4Address("10.99.1.2")

PING = """\
PING 10.99.1.1 (10.99.1.1) 56(84) bytes of data.
64 bytes from 10.99.1.1: icmp_seq=1 ttl=64 time=0.372 ms
64 bytes from 10.99.1.1: icmp_seq=3 ttl=64 time=11.2 ms

--- 10.99.1.1 ping statistics ---
3 packets transmitted, 2 received, 33.3333% packet loss, time 405ms
rtt min/avg/max/mdev = 0.372/5.786/11.2/5.414 ms
"""
FPING = """\
10.99.1.2  : 0.371 - 1.35
10.99.1.33 : - 4.39 301
"""


def test_ping_counts_from_one() -> None:
    """ping numbers its probes from 1, samples count from 0; a lost probe has no sample."""
    assert replies_of_ping(PING) == [Sample("10.99.1.1", 0, 372_000), Sample("10.99.1.1", 2, 11_200_000)]


def test_fping_prints_a_dash_for_a_lost_probe() -> None:
    """Each column of a line is a probe; one with a dash has no sample."""
    assert replies_of_fping(FPING) == [
        Sample("10.99.1.2", 0, 371_000),
        Sample("10.99.1.2", 2, 1_350_000),
        Sample("10.99.1.33", 1, 4_390_000),
        Sample("10.99.1.33", 2, 301_000_000),
    ]


@pytest.mark.parametrize(
    ("text", "nanoseconds"), [("491.472µs", 491_472), ("31.046119ms", 31_046_119), ("1.5s", 1_500_000_000), ("7ns", 7)]
)
def test_durations_of_go(text: str, nanoseconds: int) -> None:
    """A duration as Go prints it is read to the nanosecond."""
    assert go_duration_ns(text) == nanoseconds


@pytest.mark.parametrize(
    ("median", "p99", "status"), [(7_900, 31_400, 0), (8_000, 31_400, 1), (7_900, 31_500, 1)], ids=str
)
def test_claims_against_the_better_of_ping_and_fping(median: int, p99: int, status: int) -> None:
    """ping has 20 and 60 us, fping 40 and 45 us: under 0.4 of 20 us and under 0.7 of 45 us the claims hold."""

    def errors(typical: int, worst: int) -> Errors:
        return Errors([typical] * 98 + [worst] * 2)

    tools = [Contender(name, "1", ("user space", "kernel")) for name in ("monlat", "ping", "fping")]
    of = {"monlat": errors(median, p99), "ping": errors(20_000, 60_000), "fping": errors(40_000, 45_000)}
    result = Result(tools, ["idle"], {(name, "idle"): found for name, found in of.items()}, "here")
    assert judge(result, "idle") == status


def answered_record(nth: int, read_ns: int, unread_ns: int) -> Record:
    """A request that was answered 310 ns after it was read."""
    return Record(ASKED, 0, 7 + nth, PLAIN, read_ns - unread_ns, read_ns, (read_ns + 310,))


def test_sample_is_compared_with_the_request_of_its_number() -> None:
    """Of five requests three are in the block: one RTT is 23 ns off, one has no reliable reference, one has no RTT."""
    second = 1_000_000_000
    records = [answered_record(nth, (nth + 1) * second, unread_ns=10_001 if nth == 3 else 10_000) for nth in range(5)]
    records.append(Record(OTHER, 0, 0, PLAIN, 4 * second - 5, 4 * second, ()))
    samples = [Sample(str(ASKED), nth, 333) for nth in (0, 1, 3, 4)]
    block = Block("ping", "idle", frozenset({str(ASKED)}), 2 * second, 5 * second - 1, samples)

    errors = errors_by_tool_and_condition([block], records)

    assert errors == {("ping", "idle"): Errors([23], without_rtt=1, without_reference=1)}
    assert errors["ping", "idle"].part_unknown == 2 / 3
    assert Errors().part_unknown == Errors(without_reference=3).part_unknown == 1
