"""How bench/precision reads the output of the tools, and compares it with the reflector's records."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from bench.precision_result import Contender, Result, judge, markdown
from bench.tools.one_shot import replies_of_fping, replies_of_ping
from bench.tools.second_instrument import samples_of
from bench.tools.smokeping_prober import go_duration_ns
from bench.tools.tool import Sample
from bench.truth import Block, Errors, errors_by_tool_and_condition
from bench.wire import wire_rtts
from testkit.capture import Packet
from testkit.packets import echo_reply, echo_request
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
    assert judge(result_of(monlat=errors(median, p99)), "idle") == status


def test_maximum_is_no_claim() -> None:
    """A hundredth probe with an error of 1 ms is left to chance; the p99, of 99 of them, stands."""
    one_bad = Errors([4_000] * 97 + [9_000] * 2 + [1_000_000])
    assert one_bad.quantiles() == (4_000, 9_000, 1_000_000)
    assert judge(result_of(monlat=one_bad), "idle") == 0


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (Errors([200] * 90 + [9_999] * 10), 0),
        (Errors([200] * 90 + [10_000] * 10), 1),
        (Errors([200] * 96 + [90_000] * 4), 0),
        (Errors([200] * 91, without_rtt=9), 0),
        (Errors([200] * 90, without_rtt=7, without_reference=3), 1),
        (Errors(), 1),
    ],
    ids=["below 10 us", "10 us", "four in a hundred", "nine unknown", "ten unknown", "not measured"],
)
def test_truth_must_be_known_to_10_us(second: Errors, status: int) -> None:
    """The run fails when over 5 % of the distances of the two instruments are 10 us, or when a tenth is unknown."""
    assert judge(result_of(SO_TIMESTAMPING=second), "idle") == status


def test_reflector_cannot_take_longer_than_the_whole_rtt() -> None:
    """An RTT at the device below the reflector's own record means that an instrument is wrong."""
    assert judge(result_of(monlat=Errors([4_000] * 5, bed=[9_000, 0, 3_000])), "idle") == 0
    assert judge(result_of(monlat=Errors([4_000] * 5, bed=[9_000, -1, 3_000])), "idle") == 1


def test_table_tells_the_bed_and_the_uncertainty_apart() -> None:
    """The bed's part is of all tools: of 3, 5, 7, 11 and 13 us the median is 7; the second instrument's is not."""
    result = result_of(
        monlat=Errors([4_000] * 3, bed=[13_000, 5_000, 3_000]),
        ping=Errors([20_000] * 2, bed=[11_000, 7_000]),
        SO_TIMESTAMPING=Errors([1_000, 2_000, 2_600], bed=[900_000]),
    )
    table = markdown(result)
    assert "| *the bed's own part of every RTT* | | 7 / 13 / 13 |" in table
    assert "| *uncertainty of the truth* | | 2 / 3 / 3 |" in table


def errors(typical: int, worst: int) -> Errors:
    """Return a hundred samples, of which two are the worst: median and p99 are as given."""
    return Errors([typical] * 98 + [worst] * 2)


def result_of(**changes: Errors) -> Result:
    """Return a result for which every claim holds, but for the changes."""
    tools = [Contender(name, "1", ("user space", "kernel")) for name in ("monlat", "ping", "fping")]
    of = {
        "monlat": errors(4_000, 9_000),
        "ping": errors(20_000, 60_000),
        "fping": errors(40_000, 45_000),
        "SO_TIMESTAMPING": errors(1_000, 2_000),
        **changes,
    }
    return Result(tools, ["idle"], {(name, "idle"): found for name, found in of.items()}, "here", "SO_TIMESTAMPING")


def answered_record(nth: int, read_ns: int) -> Record:
    """A request that was answered 310 ns after it was read."""
    return Record(ASKED, 0, 7 + nth, PLAIN, read_ns - 1, read_ns, (read_ns + 310,))


def test_sample_is_compared_with_the_request_of_its_number() -> None:
    """Of five requests three are in the block: one RTT is 23 ns off, one was not captured, one has no RTT.

    At the device the RTTs were 41 and 53 ns above the 310 ns of the record: that is the bed's.
    """
    second = 1_000_000_000
    records = [answered_record(nth, (nth + 1) * second) for nth in range(5)]
    records.append(Record(OTHER, 0, 0, PLAIN, 4 * second - 5, 4 * second, ()))
    samples = [Sample(str(ASKED), nth, 328) for nth in (0, 1, 3, 4)]
    wire = {(str(ASKED), 0): 999, (str(ASKED), 1): 351, (str(ASKED), 2): 363, (str(ASKED), 4): 999}
    block = Block("ping", "idle", frozenset({str(ASKED)}), 2 * second, 5 * second - 1, samples)

    found = errors_by_tool_and_condition([block], records, wire)

    assert found == {("ping", "idle"): Errors([23], without_rtt=1, without_reference=1, bed=[41, 53])}
    assert found["ping", "idle"].part_unknown == 2 / 3
    assert Errors().part_unknown == Errors(without_reference=3).part_unknown == 1


def test_rtt_at_the_device_is_from_a_request_to_its_first_reply() -> None:
    """Requests are numbered an address; a reply to nothing, a second one and a request that comes in are left out."""
    source = "10.99.0.1"

    def request(to: IPv4Address, sequence: int, at_ns: int) -> Packet:
        return Packet(echo_request(source, str(to), 7, sequence, b"x"), True, at_ns)

    def reply(of: IPv4Address, sequence: int, at_ns: int) -> Packet:
        return Packet(echo_reply(str(of), source, 7, sequence, b"x"), False, at_ns)

    packets = [
        Packet(b"\x60" + bytes(47), True, 90),  # a router solicitation
        reply(ASKED, 3, 95),
        request(ASKED, 3, 100),
        request(OTHER, 3, 110),
        request(ASKED, 4, 120),
        Packet(echo_request(str(ASKED), source, 7, 5, b"x"), False, 130),
        reply(ASKED, 4, 531),
        reply(ASKED, 4, 600),
        reply(OTHER, 3, 617),
    ]
    assert wire_rtts(packets) == {(str(ASKED), 1): 411, (str(OTHER), 0): 507}


def test_samples_of_the_second_instrument() -> None:
    """A line is an address, a number and nanoseconds."""
    assert samples_of("10.99.1.1 0 317041\n10.99.1.2 1 309\n") == [
        Sample("10.99.1.1", 0, 317_041),
        Sample("10.99.1.2", 1, 309),
    ]
