"""What peers tell in their requests: one sample a probe where it is right, none and a counter where it is not."""

from __future__ import annotations

import struct
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
)

DWELL_NS = 1_000
PLACES = 16


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bed]:
    with bed(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[Bed]:
    """One bed for many cases; each clears its target first."""
    with bed(4) as made:
        yield made


def test_feedback_makes_one_sample_of_the_network_rtt(bench: Bed) -> None:
    """A probe answered, then told of: the sample is its RTT less the dwell; t2 and dwell are kept as told."""
    bench.send()
    bench.answer()
    wall = bench.wall_ns()
    bench.ask(0xA0, 0, feedback(PROBE_NONCE, wall, DWELL_NS))
    assert bench.sessions.network_rtt(TARGET) == of_samples([bench.rtt_ns - DWELL_NS])
    told = bench.sessions.peer_report(TARGET)
    assert told is not None
    assert (told.nonce, told.peer_received_ns, told.dwell_ns) == (PROBE_NONCE, wall, DWELL_NS)
    assert bench.refused() == {}


def test_forged_feedback_changes_no_histogram(bench: Bed) -> None:
    """10,000 forgeries of five kinds, 2,000 each: no histogram changes, each is counted under its own reason.

    Nobody's request is answered meanwhile, so that there is no dwell of ours to be measured either.
    """
    bench.be_silent()
    bench.send()
    bench.answer()
    before = [bench.source.table.histogram(target) for target in range(3)]
    wall = bench.wall_ns()
    right = feedback(PROBE_NONCE, wall, DWELL_NS)
    nonces = iter(range(1, 10_001))
    for number in range(2_000):
        guessed = PROBE_NONCE ^ (number + 1) << 4  # of the same place
        bench.ask(next(nonces), number, feedback(guessed, wall, DWELL_NS))
        bench.ask(next(nonces), number, right, OTHER_PEER)
        bench.ask(next(nonces), number, right, STRANGER)
        bench.ask(next(nonces), number, feedback(PROBE_NONCE, wall, bench.rtt_ns + number))
        bench.ask(next(nonces), number, feedback(PROBE_NONCE, wall + HOUR_NS + 10**9 * (number + 10), DWELL_NS))
    assert bench.refused() == {
        "nonce_mismatch": 4_000,
        "unknown_peer": 2_000,
        "dwell_over_rtt": 2_000,
        "clock_apart": 2_000,
    }
    assert bench.network_rtts() == [0, 0, 0]
    assert bench.dwells() == [0, 0, 0]
    assert [bench.source.table.histogram(target) for target in range(3)] == before
    assert bench.sessions.peer_report(TARGET) is None


def test_a_clock_far_behind_is_refused_as_well(bench: Bed) -> None:
    """t2 of over an hour ago, and of 1970; of just under an hour it is taken."""
    bench.send()
    bench.answer()
    bench.ask(0x11, 0, feedback(PROBE_NONCE, bench.wall_ns() - HOUR_NS - 10**9, DWELL_NS))
    bench.ask(0x12, 1, feedback(PROBE_NONCE, 0, DWELL_NS))
    assert bench.refused() == {"clock_apart": 2}
    assert bench.network_rtts() == [0, 0, 0]
    bench.ask(0x13, 2, feedback(PROBE_NONCE, bench.wall_ns() - HOUR_NS + 10**10, DWELL_NS))
    assert bench.network_rtts() == [0, 1, 0]


def test_repeated_feedback_counts_once(bench: Bed) -> None:
    """A peer that tells of the same probe in 11 requests, with other dwells: one sample, by its first word."""
    bench.send()
    bench.answer()
    for number in range(11):
        bench.ask(0x100 + number, number, feedback(PROBE_NONCE, bench.wall_ns(), DWELL_NS + number))
    assert bench.sessions.network_rtt(TARGET) == of_samples([bench.rtt_ns - DWELL_NS])
    assert bench.refused() == {}


def test_stale_feedback_is_of_no_probe(bench: Bed) -> None:
    """Once the probe's place holds a newer one, feedback on the former is refused and touches neither."""
    newer = PROBE_NONCE + (1 << 4)
    for nonce in (PROBE_NONCE, newer):
        bench.send(nonce=nonce)
        bench.answer(nonce=nonce)
    bench.ask(0x20, 0, feedback(PROBE_NONCE, bench.wall_ns(), DWELL_NS))
    assert bench.refused() == {"nonce_mismatch": 1}
    assert bench.network_rtts() == [0, 0, 0]
    assert bench.sessions.reception_report(TARGET) is None
    bench.ask(0x21, 1, feedback(newer, bench.wall_ns(), DWELL_NS))
    assert bench.network_rtts() == [0, 1, 0]


def test_feedback_on_a_lost_probe_says_only_that_it_arrived(bench: Bed) -> None:
    """The answer never came: there is no RTT to take a dwell from, but the peer's word is kept."""
    bench.send()
    bench.ask(0x31, 0, feedback(PROBE_NONCE, bench.wall_ns(), DWELL_NS, before=0b101, after=0b10))
    assert bench.network_rtts() == [0, 0, 0]
    assert bench.refused() == {}
    heard = bench.sessions.reception_report(TARGET)
    assert heard is not None
    assert (heard.nonce, heard.before, heard.after) == (PROBE_NONCE, 0b101, 0b10)


def test_feedback_on_a_late_answer_makes_no_sample(bench: Bed) -> None:
    """What came past its deadline is in no histogram of RTTs, and in none of network RTTs."""
    bench.send(timeout_ns=0)
    bench.answer()
    bench.ask(0x41, 0, feedback(PROBE_NONCE, bench.wall_ns(), DWELL_NS))
    assert bench.network_rtts() == [0, 0, 0]
    assert bench.refused() == {}


def test_seen_but_not_answered_makes_no_sample_yet(bench: Bed) -> None:
    """A word without a dwell leaves the probe open for the one that brings it."""
    bench.send()
    bench.answer()
    bench.ask(0x51, 0, feedback(PROBE_NONCE, bench.wall_ns(), 0))
    assert bench.network_rtts() == [0, 0, 0]
    bench.ask(0x52, 1, feedback(PROBE_NONCE, bench.wall_ns(), DWELL_NS))
    assert bench.network_rtts() == [0, 1, 0]
    assert bench.refused() == {}


def test_a_word_that_was_overtaken_does_not_take_back_a_newer_one(bench: Bed) -> None:
    """Requests 7 and 6 arrive in that order: what 7 said the peer had seen stays; 6's dwell still makes a sample."""
    first, second = PROBE_NONCE, PROBE_NONCE + 1
    for nonce in (first, second):
        bench.send(nonce=nonce)
        bench.answer(nonce=nonce)
    bench.ask(0x65, 5)
    bench.ask(0x67, 7, feedback(second, bench.wall_ns(), DWELL_NS, before=1))
    bench.ask(0x66, 6, feedback(first, bench.wall_ns(), DWELL_NS))
    heard = bench.sessions.reception_report(TARGET)
    assert heard is not None
    assert (heard.nonce, heard.before) == (second, 1)
    assert bench.network_rtts() == [0, 2, 0]


def test_strangers_are_not_served(bench: Bed) -> None:
    """31 requests each of a peer and of a stranger: 31 dwells, all the peer's, nothing of the stranger's."""
    for number in range(31):
        bench.ask(0x700 + number, number)
        bench.ask(0x800 + number, number, peer=STRANGER)
    assert bench.dwells() == [0, 31, 0]
    assert bench.refused() == {}


def test_a_request_with_a_wrong_checksum_is_not_served(bench: Bed) -> None:
    """13 requests whose last byte was flipped on the way: no dwell, no record of them, no word believed."""
    bench.send()
    bench.answer()
    for number in range(13):
        said = feedback(PROBE_NONCE, bench.wall_ns(), DWELL_NS)
        whole = bench.request(0x900 + number, number, said)
        bench.device.inject([whole[:-1] + bytes([whole[-1] ^ 1])])
    assert bench.dwells() == [0, 0, 0]
    assert bench.network_rtts() == [0, 0, 0]
    assert bench.sessions.reception_report(TARGET) is None
    assert not any(bench.sessions.feedback(TARGET, 0))


def test_a_request_doubled_by_the_network_makes_one_dwell(bench: Bed) -> None:
    """17 requests arrive twice: 17 dwells, 17 words believed once. None of the dwells is told."""
    for number in range(17):
        bench.send(nonce=PROBE_NONCE + (number << 4))
        bench.answer(nonce=PROBE_NONCE + (number << 4))
        said = feedback(PROBE_NONCE + (number << 4), bench.wall_ns(), DWELL_NS)
        bench.device.inject([bench.request(0xB00 + number, number, said)] * 2)
    assert bench.dwells() == [0, 17, 0]
    assert bench.network_rtts() == [0, 17, 0]
    assert bench.refused() == {}
    nonce, _, dwell, before, after = said_of(bench)
    assert (nonce, dwell, before, after) == (0xB00 + 16, 0, 0xFFFF, 0)


def said_of(bench: Bed, target: int = TARGET) -> tuple[int, ...]:
    """Return what the next request would tell the peer: nonce, t2, dwell, and which others were seen."""
    fields: tuple[int, ...] = struct.unpack("<QQIHH", bench.sessions.feedback(target, 0))
    return fields


def test_the_word_is_of_the_newest_request(bench: Bed) -> None:
    """t2 and dwell add up to the histogram's only sample; a peer that asked nothing is told nothing."""
    bench.ask(0xC1, 4)
    nonce, received, dwell, before, after = said_of(bench)
    assert (nonce, before, after) == (0xC1, 0, 0)
    assert 0 < received <= bench.wall_ns()
    assert bench.sessions.dwell(TARGET) == of_samples([dwell])
    assert said_of(bench, OTHER_TARGET) == (0, 0, 0, 0, 0)


def test_while_answers_wait_the_word_is_of_the_last_one_answered(bench: Bed) -> None:
    """Requests 20 to 24 are answered, but for 22 that is lost; 25 and 27 are seen and not answered, 26 is lost."""
    for sequence in (20, 21, 23, 24):
        bench.ask(0xD00 + sequence, sequence)
    bench.be_silent()
    for sequence in (25, 27):
        bench.ask(0xD00 + sequence, sequence)
    nonce, _, dwell, before, after = said_of(bench)
    assert (nonce, before, after) == (0xD00 + 24, 0b1101, 0b101)
    assert dwell > 0


@pytest.mark.parametrize(
    ("sequences", "told", "before"),
    [
        ([0, 1, 2, 3], 3, 0b111),
        ([0, 1, 3], 3, 0b110),
        ([0, 2, 1, 3], 3, 0b111),
        ([5, 4], 5, 0b1),
        ([2**32 - 2, 2**32 - 1, 0, 1], 1, 0b111),
        ([2**32 - 1, 1, 0], 1, 0b11),
        ([9, 10, 30], 30, 0),
        ([14, 15, 30], 30, 0b1100_0000_0000_0000),
        ([1000, 1001, 0, 1], 1, 0b1),
        ([0, 1, 2, 3, 4, 0, 1], 1, 0b1),
        ([7, 8, 7], 7, 0),
        ([6, 6], 6, 0),
    ],
    ids=["in a row", "one lost", "overtaken", "overtaken at first", "wrap", "overtaken at the wrap", "long silence",
         "far apart", "restarted far", "restarted near", "restarted in between", "restarted at once"],
)  # fmt: skip
def test_which_requests_were_seen_is_told_by_sequence(
    shared: Bed, sequences: list[int], told: int, before: int
) -> None:
    """What the word says after requests of these sequences, each with a nonce of its own."""
    bench = shared
    bench.sessions.clear(TARGET)
    for order, sequence in enumerate(sequences):
        bench.ask((order + 1) << 32 | sequence % PLACES, sequence)
    nonce, _, _, seen_before, after = said_of(bench)
    newest = max(order for order, sequence in enumerate(sequences) if sequence == told)
    assert nonce == (newest + 1) << 32 | told % PLACES
    assert (seen_before, after) == (before, 0)


@pytest.mark.parametrize("version", [4, 6])
def test_two_thousand_peers_are_each_served_as_themselves(version: int) -> None:
    """2,003 neighbouring addresses: the kernel finds each, so its hash is Python's, and one dwell is its own."""
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
                for number in range(1 + target % 3):
                    made.ask(1 << 32 | number, number, peer={version: str(peer)})
            counts = [source.sessions.dwell(target).count for target in range(len(peers))]
            assert counts == [1 + target % 3 for target in range(len(peers))]
        finally:
            source.close()


def test_what_passes_through_is_not_served(bench: Bed) -> None:
    """On a node that forwards, a peer's echoes with another make no dwell, and are not told of once it asked us."""
    bench.namespace.sysctl("net.ipv4.ip_forward", 1)
    bench.namespace.sysctl("net.ipv6.conf.all.forwarding", 1)
    peer, elsewhere = PEER[bench.version], OTHER_PEER[bench.version]

    def pass_through(nonce: int, sequence: int) -> None:
        payload = echo.payload(0, sequence, nonce)
        request = packets.echo_request(peer, elsewhere, 9, sequence, payload)
        bench.device.inject([request, packets.echo_reply(elsewhere, peer, 9, sequence, payload)])

    pass_through(0xE0, 9_000)
    assert bench.dwells() == [0, 0, 0]
    bench.ask(0xE1, 50)
    pass_through(0xE2, 9_001)
    assert bench.dwells() == [0, 1, 0]
    assert said_of(bench)[0] == 0xE1
    passed = [packets.parse_echo_request(each) for each in bench.sent_to(elsewhere)]
    assert len([each for each in passed if each is not None]) == 2
