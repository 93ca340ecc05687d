"""One probe, put together from its stamps, the peer's report, and the estimated clock offset."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monlat_ebpf.abi.probes import Stamps
from monlat_ebpf.abi.sessions import PeerReport
from monlat_ebpf.model import ClockOffset, Family, RecentProbe, Result
from monlat_ebpf.probing.ledger import Ledger, Outcome
from monlat_ebpf.probing.recent import directions, recent_probe
from testkit.waiting import wait_until
from tests.unit.fake_source import FakeSource, Sent
from tests.unit.running_prober import peer, running

BOOT = 1_700_000_000_000_000_000  # wall time when CLOCK_MONOTONIC was 0
AHEAD = 37_000_000  # of the peer's clock


def test_a_reported_probe_has_all_its_parts() -> None:
    """t0 1000, t1 1080, t2 1100, t3 1140, t4 1160 (us): 80 + 20 there + 40 dwell + 20 back, whatever the clocks say."""
    stamps = Stamps(nonce=5, sent_ns=1_000_000, transmitted_ns=1_080_000, received_ns=1_160_000)
    report = PeerReport(5, 1_100_000 + BOOT + AHEAD, 40_000)
    assert recent_probe(7, Result.REPLY, stamps, report, ClockOffset(AHEAD, 20_000), BOOT) == RecentProbe(
        sequence=7,
        result=Result.REPLY,
        sent_unix_ns=BOOT + 1_000_000,
        send_delay_ns=80_000,
        rtt_ns=80_000,
        dwell_ns=40_000,
        forward_ns=20_000,
        return_ns=20_000,
    )


def test_a_probe_without_a_report_has_only_its_rtt() -> None:
    """The peer's kernel answers without an agent."""
    stamps = Stamps(5, 1_000_000, 1_080_000, 1_160_000)
    assert recent_probe(7, Result.REPLY, stamps, None, None, BOOT) == RecentProbe(
        7, Result.REPLY, BOOT + 1_000_000, 80_000, 80_000
    )


def test_a_late_reply_is_no_rtt() -> None:
    """The probe ended as lost, and stays lost when the stamps of its reply are there."""
    stamps = Stamps(5, 1_000_000, 1_080_000, 2_160_000)
    assert recent_probe(7, Result.LOST_RETURN, stamps, None, None, BOOT) == RecentProbe(
        7, Result.LOST_RETURN, BOOT + 1_000_000, 80_000
    )


def test_a_probe_that_never_left_has_no_send_delay() -> None:
    """t1 is 0 in the table."""
    stamps = Stamps(5, 1_000_000, 0, 0)
    assert recent_probe(7, Result.LOST_HOST, stamps, None, None, BOOT) == RecentProbe(
        7, Result.LOST_HOST, BOOT + 1_000_000
    )


@pytest.mark.parametrize(
    ("apparent_forward", "expected"),
    [
        (37_000_030_000, (30_000, 10_000)),
        (36_999_990_000, (-10_000, 50_000)),  # wrong by 10 us, and known to +- 20
        (36_998_980_000, (-1_020_000, 1_060_000)),  # 20 us of error and 1 ms of drift
        (36_998_979_000, (None, None)),  # not possible: a clock was stepped
        (37_001_060_000, (1_060_000, -1_020_000)),
        (37_001_061_000, (None, None)),
    ],
)
def test_directions_are_split_by_the_offset_and_known_to_its_error(
    apparent_forward: int, expected: tuple[int | None, int | None]
) -> None:
    """40 us of network, the peer's clock 37 s ahead, known to 20 us: outside of that, and 1 ms of drift, no split."""
    assert directions(40_000, apparent_forward, ClockOffset(37_000_000_000, 20_000)) == expected


def test_without_an_offset_there_is_no_split() -> None:
    """Before the first exchange."""
    assert directions(40_000, 30_000, None) == (None, None)


def outcomes(ledger: Ledger, results: list[Result]) -> None:
    for result in results:
        ledger.resolve(Outcome(ledger.open(0, 1).sequence, result))


def test_the_ledger_remembers_the_last_sixteen() -> None:
    """Of 19 probes the first 3 are forgotten; the rest come oldest first, each with its own result."""
    ledger = Ledger()
    results = [list(Result)[number % len(Result)] for number in range(19)]
    outcomes(ledger, results)
    assert list(ledger.last_ended()) == list(enumerate(results))[3:]


def test_a_probe_in_flight_is_not_among_the_last_ended() -> None:
    """Nor is the one whose position it took."""
    ledger = Ledger()
    outcomes(ledger, [Result.REPLY] * 17)
    ledger.open(0, 1)  # number 17, at the position of number 1
    assert [sequence for sequence, _ in ledger.last_ended()] == list(range(2, 17))


def test_of_a_new_ledger_no_probe_has_ended() -> None:
    """Nothing was sent."""
    assert list(Ledger().last_ended()) == []


def test_the_prober_returns_the_last_probes_of_each_family() -> None:
    """Answered over IPv4 with 50 us, 1 us after t0; held back over IPv6; empty for a peer that is not probed."""
    source = FakeSource(2)

    def behave(probe: Sent) -> None:
        if probe.address.version == 4:
            source.answer(probe)

    source.behaviour = behave
    with running(source, interval=0.005) as bench:  # most of the last 16 have ended at any time
        bench.prober.set_peers([peer("a", "10.0.0.1", "fd00::1")])

        def reported() -> Iterator[int]:
            return (len(probes) for probes in bench.prober.recent("a").values())

        wait_until(lambda: min(reported(), default=0) > 2)
        recent = bench.prober.recent("a")
        assert bench.prober.recent("b") == {}
    assert recent.keys() == {Family.IPV4, Family.IPV6}
    assert {(probe.result, probe.send_delay_ns, probe.rtt_ns) for probe in recent[Family.IPV4]} == {
        (Result.REPLY, 1_000, 50_000)
    }
    assert {(probe.result, probe.send_delay_ns, probe.rtt_ns) for probe in recent[Family.IPV6]} == {
        (Result.LOST_HOST, None, None)
    }
    sequences = [probe.sequence for probe in recent[Family.IPV4]]
    assert sequences == sorted(set(sequences))
    assert max(map(len, recent.values())) <= 16
