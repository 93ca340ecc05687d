"""Feedback of peers: correct feedback makes one sample per probe, wrong feedback is counted and makes none."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from monlat_ebpf.abi import echo
from monlat_ebpf.abi.histogram import of_samples
from monlat_ebpf.abi.probes import TableSize, mapped
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.namespace import Namespace
from testkit import packets
from testkit.device import RawDevice
from testkit.reflector import ADDRESSES
from tests.kernel.answered import (
    HOUR_NS,
    OTHER_PEER,
    OTHER_TARGET,
    PEER,
    PROBE_NONCE,
    STRANGER,
    TARGET,
    Bed,
    bed,
    feedback,
    feedback_to_peer,
)

DWELL_NS = 1_000
PROBES_PER_TARGET = 16
DWELL_DELAY = 8  # requests of the peer until a dwell counts


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bed]:
    with bed(request.param) as made:
        yield made


def test_feedback_makes_one_sample_of_the_network_rtt(bench: Bed) -> None:
    """The sample of an answered and reported probe is its RTT less the dwell; t2 and dwell are kept as reported."""
    bench.send()
    bench.answer()
    wall = bench.wall_ns()
    bench.ask(0xA0, 0, feedback(PROBE_NONCE, wall, DWELL_NS))
    assert bench.sessions.network_rtt(TARGET) == of_samples([bench.rtt_ns - DWELL_NS])
    report = bench.sessions.peer_report_of(TARGET, bench.sessions.reported_nonce(TARGET))
    assert report is not None
    assert (report.nonce, report.peer_received_ns, report.dwell_ns) == (PROBE_NONCE, wall, DWELL_NS)
    assert bench.rejected() == {}


def test_forged_feedback_changes_no_histogram(bench: Bed) -> None:
    """10,000 forgeries of five kinds, 2,000 each: no histogram changes, and each kind counts under its own reason.

    No request is answered meanwhile, so this node measures no dwell either.
    """
    bench.be_silent()
    bench.send()
    bench.answer()
    before = [bench.source.table.histogram(target) for target in range(3)]
    wall = bench.wall_ns()
    right = feedback(PROBE_NONCE, wall, DWELL_NS)
    guess = 0x77
    nonces = iter(range(1, 10_001))
    for number in range(2_000):
        guessed = PROBE_NONCE ^ (number + 1) << 4  # with the same slot
        bench.ask(next(nonces), number, feedback(guessed, wall, DWELL_NS, stream=guess))
        bench.ask(next(nonces), number, right, OTHER_PEER)
        bench.ask(next(nonces), number, right, STRANGER)
        bench.ask(next(nonces), number, feedback(PROBE_NONCE, wall, bench.rtt_ns + number))
        bench.ask(next(nonces), number, feedback(PROBE_NONCE, wall + HOUR_NS + 10**9 * (number + 10), DWELL_NS))
    assert bench.rejected() == {
        "nonce_mismatch": 4_000,
        "unknown_peer": 2_000,
        "dwell_over_rtt": 2_000,
        "clock_apart": 2_000,
    }
    assert bench.network_rtts() == [0, 0, 0]
    assert bench.dwells() == [0, 0, 0]
    assert [bench.source.table.histogram(target) for target in range(3)] == before
    assert bench.sessions.peer_report_of(TARGET, bench.sessions.reported_nonce(TARGET)) is None


def test_feedback_of_a_clock_far_behind_is_rejected(bench: Bed) -> None:
    """t2 over an hour ago, and in 1970; just under an hour is accepted."""
    bench.send()
    bench.answer()
    bench.ask(0x11, 0, feedback(PROBE_NONCE, bench.wall_ns() - HOUR_NS - 10**9, DWELL_NS))
    bench.ask(0x12, 1, feedback(PROBE_NONCE, 0, DWELL_NS))
    assert bench.rejected() == {"clock_apart": 2}
    assert bench.network_rtts() == [0, 0, 0]
    bench.ask(0x13, 2, feedback(PROBE_NONCE, bench.wall_ns() - HOUR_NS + 10**10, DWELL_NS))
    assert bench.network_rtts() == [0, 1, 0]


def test_repeated_feedback_counts_once(bench: Bed) -> None:
    """A peer reports the same probe in 11 requests, with other dwells: one sample, of the first report."""
    bench.send()
    bench.answer()
    for number in range(11):
        bench.ask(0x100 + number, number, feedback(PROBE_NONCE, bench.wall_ns(), DWELL_NS + number))
    assert bench.sessions.network_rtt(TARGET) == of_samples([bench.rtt_ns - DWELL_NS])
    assert bench.rejected() == {}


def test_feedback_on_a_former_probe_of_the_slot_is_rejected(bench: Bed) -> None:
    """When the slot holds a newer probe, feedback on the former one is rejected and changes neither."""
    newer = PROBE_NONCE + (1 << 4)
    for nonce in (PROBE_NONCE, newer):
        bench.send(nonce=nonce)
        bench.answer(nonce=nonce)
    bench.ask(0x20, 0, feedback(PROBE_NONCE, bench.wall_ns(), DWELL_NS))
    assert bench.rejected() == {"nonce_mismatch": 1}
    assert bench.network_rtts() == [0, 0, 0]
    assert bench.sessions.reception_report(TARGET) is None
    bench.ask(0x21, 1, feedback(newer, bench.wall_ns(), DWELL_NS))
    assert bench.network_rtts() == [0, 1, 0]


def test_feedback_on_a_lost_probe_reports_only_its_arrival(bench: Bed) -> None:
    """The reply never came: there is no network RTT, but the reception report is kept."""
    bench.send()
    bench.ask(0x31, 0, feedback(PROBE_NONCE, bench.wall_ns(), DWELL_NS, before=0b101, after=0b10, known=7))
    assert bench.network_rtts() == [0, 0, 0]
    assert bench.rejected() == {}
    report = bench.sessions.reception_report(TARGET)
    assert report is not None
    assert (report.nonce, report.before, report.after, report.known) == (PROBE_NONCE, 0b101, 0b10, 7)


def test_feedback_on_a_late_reply_makes_no_sample(bench: Bed) -> None:
    """A reply after its deadline has no RTT, and so no network RTT."""
    bench.send(timeout_ns=0)
    bench.answer()
    bench.ask(0x41, 0, feedback(PROBE_NONCE, bench.wall_ns(), DWELL_NS))
    assert bench.network_rtts() == [0, 0, 0]
    assert bench.rejected() == {}


def test_feedback_without_dwell_makes_no_sample_yet(bench: Bed) -> None:
    """Feedback with dwell 0 makes no sample; later feedback with the dwell does."""
    bench.send()
    bench.answer()
    bench.ask(0x51, 0, feedback(PROBE_NONCE, bench.wall_ns(), 0))
    assert bench.network_rtts() == [0, 0, 0]
    bench.ask(0x52, 1, feedback(PROBE_NONCE, bench.wall_ns(), DWELL_NS))
    assert bench.network_rtts() == [0, 1, 0]
    assert bench.rejected() == {}


def test_overtaken_feedback_does_not_replace_newer_feedback(bench: Bed) -> None:
    """Request 7 arrives before 6: the reception report of 7 stays, and the dwell in 6 still makes a sample."""
    first, second = PROBE_NONCE, PROBE_NONCE + 1
    for nonce in (first, second):
        bench.send(nonce=nonce)
        bench.answer(nonce=nonce)
    bench.ask(0x65, 5)
    bench.ask(0x67, 7, feedback(second, bench.wall_ns(), DWELL_NS, before=1))
    bench.ask(0x66, 6, feedback(first, bench.wall_ns(), DWELL_NS))
    report = bench.sessions.reception_report(TARGET)
    assert report is not None
    assert (report.nonce, report.before) == (second, 1)
    assert bench.network_rtts() == [0, 2, 0]


def test_strangers_are_not_served(bench: Bed) -> None:
    """39 requests of a peer and 39 of a stranger: 31 dwells, all of the peer."""
    for number in range(31 + DWELL_DELAY):
        bench.ask(0x700 + number, number)
        bench.ask(0x800 + number, number, peer=STRANGER)
    assert bench.dwells() == [0, 31, 0]
    assert bench.rejected() == {}


def test_request_with_a_wrong_checksum_is_not_served(bench: Bed) -> None:
    """13 requests whose last byte was changed on the way: no dwell, no record, and their feedback is ignored."""
    bench.send()
    bench.answer()
    for number in range(13):
        reported = feedback(PROBE_NONCE, bench.wall_ns(), DWELL_NS)
        whole = bench.request(0x900 + number, number, reported)
        bench.device.inject([whole[:-1] + bytes([whole[-1] ^ 1])])
    assert bench.dwells() == [0, 0, 0]
    assert bench.network_rtts() == [0, 0, 0]
    assert bench.sessions.reception_report(TARGET) is None
    assert bench.sessions.feedback(TARGET, 0) == echo.NO_FEEDBACK


def test_request_that_comes_twice_makes_one_dwell(bench: Bed) -> None:
    """17 requests arrive twice: each of the first 9 has made a dwell, and none is reported. Feedback counts once."""
    for number in range(17):
        bench.send(nonce=PROBE_NONCE + (number << 4))
        bench.answer(nonce=PROBE_NONCE + (number << 4))
        reported = feedback(PROBE_NONCE + (number << 4), bench.wall_ns(), DWELL_NS)
        bench.device.inject([bench.request(0xB00 + number, number, reported)] * 2)
    assert bench.dwells() == [0, 17 - DWELL_DELAY, 0]
    assert bench.network_rtts() == [0, 17, 0]
    assert bench.rejected() == {}
    nonce, _, dwell, before, after = feedback_to_peer(bench)
    assert (nonce, dwell, before, after) == (0xB00 + 16, 0, 0xFFFF, 0)


def test_feedback_reports_the_newest_request(bench: Bed) -> None:
    """The dwell is the only sample of the histogram; a peer that sent nothing gets no feedback."""
    bench.ask(0xC1, 4)
    nonce, received, dwell, before, after = feedback_to_peer(bench)
    assert (nonce, before, after) == (0xC1, 0, 0)
    assert 0 < received <= bench.wall_ns()
    bench.ask(0xC1 + DWELL_DELAY, 4 + DWELL_DELAY)
    assert bench.sessions.dwell(TARGET) == of_samples([dwell])
    assert feedback_to_peer(bench, OTHER_TARGET) == (0, 0, 0, 0, 0)


def test_feedback_reports_the_last_answered_request_while_replies_wait(bench: Bed) -> None:
    """20, 21, 23 and 24 are answered; 25 and 27 are received and not answered; 22 and 26 are lost."""
    for sequence in (20, 21, 23, 24):
        bench.ask(0xD00 + sequence, sequence)
    bench.be_silent()
    for sequence in (25, 27):
        bench.ask(0xD00 + sequence, sequence)
    nonce, _, dwell, before, after = feedback_to_peer(bench)
    assert (nonce, before, after) == (0xD00 + 24, 0b1101, 0b101)
    assert dwell > 0


@pytest.mark.parametrize("version", [4, 6])
def test_each_of_two_thousand_peers_has_its_own_dwells(version: int) -> None:
    """2,003 consecutive addresses: C and Python compute the same hash, and every dwell counts for its own peer."""
    first = ip_address({4: "10.99.16.0", 6: "fd99::1:0"}[version])
    peers = [first + number for number in range(2_003)]
    with Namespace("agent") as namespace, RawDevice(namespace, ADDRESSES) as device:
        with namespace.entered():
            source = TracepointSource(TableSize(len(peers)))
        try:
            source.reserve(len(peers))
            assert source.sessions.set_peer_index({mapped(peer): target for target, peer in enumerate(peers)}) == 0
            made = Bed(version, namespace, source, device)
            for target, peer in enumerate(peers):
                made.prove(target)
                for number in range(1 + DWELL_DELAY + target % 3):
                    made.ask(1 << 32 | number, number, peer={version: str(peer)})
            counts = [source.sessions.dwell(target).count for target in range(len(peers))]
            assert counts == [1 + target % 3 for target in range(len(peers))]
        finally:
            source.close()


def test_forwarded_requests_are_not_served(bench: Bed) -> None:
    """On a node that forwards, echoes between a peer and another node make no dwell and are not reported."""
    bench.namespace.sysctl("net.ipv4.ip_forward", 1)
    bench.namespace.sysctl("net.ipv6.conf.all.forwarding", 1)
    peer, elsewhere = PEER[bench.version], OTHER_PEER[bench.version]

    def forward(nonce: int, sequence: int) -> None:
        payload = echo.payload(0, sequence, nonce)
        request = packets.echo_request(peer, elsewhere, 9, sequence, payload)
        bench.device.inject([request, packets.echo_reply(elsewhere, peer, 9, sequence, payload)])

    forward(0xE0, 9_000)
    assert bench.dwells() == [0, 0, 0]
    bench.ask(0xE1, 50)
    forward(0xE2, 9_001)
    assert feedback_to_peer(bench)[0] == 0xE1
    bench.ask(0xE1 + DWELL_DELAY, 50 + DWELL_DELAY)
    assert bench.dwells() == [0, 1, 0]
    passed = [packets.parse_echo_request(each) for each in bench.sent_to(elsewhere)]
    assert len([each for each in passed if each is not None]) == 2
