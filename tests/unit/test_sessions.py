"""What agents report to each other, byte by byte. Offsets are counted by hand from bpf/monlat.h."""

from __future__ import annotations

import struct

import pytest

from monlat_ebpf.abi.layout import Memory
from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.abi.sessions import PeerReport, ReceptionReport, Sessions, around

TARGETS = 3
EXCHANGE, SESSION, HISTOGRAM, PEER_ENTRY = 56, 2 * (16 + 4 * 186) + 2 * 40 + 56, 16 + 4 * 186, 24
DWELL_AT, STREAMS_AT, CANDIDATE_AT = HISTOGRAM, 2 * HISTOGRAM, 2 * HISTOGRAM + 80
STREAM = 0xA1B2C3D4E5F60718
WALL = 1_700_000_000_000_000_000


class Bench:
    """Sessions over plain memory, which the methods write as the kernel program does."""

    def __init__(self) -> None:
        self.exchanges = bytearray(TARGETS * 2 * 16 * EXCHANGE)
        self.sums = bytearray(TARGETS * SESSION)
        self.peer_index = bytearray(16 * PEER_ENTRY)
        self.settings = bytearray(48)
        self.counts = bytearray(13 * 8)
        memories: dict[str, Memory] = {
            "exchanges": self.exchanges,
            "sessions": self.sums,
            "peer_index": self.peer_index,
            "settings": self.settings,
            "counts": self.counts,
        }
        self.sessions = Sessions(TableSize(TARGETS), memories)

    def received(
        self,
        target: int,
        nonce: int,
        sequence: int,
        at_ns: int,
        transmitted: int,
        requests: int = 1,
        stream: int = STREAM,
        second: bool = False,
    ) -> None:
        at, low = ((target * 2 + second) * 16 + nonce % 16) * EXCHANGE, stream & 0xFFFF
        struct.pack_into("<QQQIHB", self.exchanges, at, nonce, at_ns, transmitted, sequence, low, requests)

    def peer_report(self, target: int, nonce: int, peer_received: int, dwell: int) -> None:
        at = (target * 2 * 16 + nonce % 16) * EXCHANGE
        struct.pack_into("<QQQ", self.exchanges, at + 32, nonce, peer_received, dwell)

    def served(
        self,
        target: int,
        nonce: int,
        sequence: int,
        before: int,
        *,
        known: int = 32,
        at_ns: int = 0,
        second: bool = False,
    ) -> None:
        at = target * SESSION + STREAMS_AT + 40 * second
        struct.pack_into("<QQQIIQ", self.sums, at, STREAM + second, nonce, at_ns, sequence, before, known)

    def candidate(self, target: int, nonce: int) -> None:
        struct.pack_into("<Q", self.sums, target * SESSION + CANDIDATE_AT, nonce)

    def feedback(self, target: int = 1) -> tuple[int, ...]:
        fields: tuple[int, ...] = struct.unpack("<QQIHH", self.sessions.feedback(target, WALL).report)
        return fields

    def named(self, alive_since_ns: int) -> list[int]:
        """Return the nonces that the next four requests to target 1 name."""
        feedback = (self.sessions.feedback(1, WALL, alive_since_ns, turn) for turn in range(4))
        return [int.from_bytes(each.report[:8], "little") for each in feedback]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_feedback_is_zero_before_any_request(bench: Bench) -> None:
    """24 zero bytes, and nothing known."""
    assert bench.sessions.feedback(1, WALL) == (bytes(24), 0, 0)


def test_answered_newest_request_is_reported(bench: Bench) -> None:
    """t2 in wall time, t3 - t2, and which of the 16 before it were received."""
    bench.received(1, 0x50, 70, 1_000, 31_000)
    bench.served(1, 0x50, 70, 0xABCD1234)
    assert bench.feedback() == (0x50, WALL + 1_000, 30_000, 0x1234, 0)


def test_newest_request_is_reported_as_received_if_none_was_answered(bench: Bench) -> None:
    """Dwell 0 means: received."""
    bench.received(1, 0x50, 70, 1_000, 0)
    bench.served(1, 0x50, 70, 0b1)
    assert bench.feedback() == (0x50, WALL + 1_000, 0, 1, 0)


def test_earlier_answered_request_is_reported_while_the_newest_waits(bench: Bench) -> None:
    """70 and 69 wait, 68 was not received, 67 was answered: 67 is named, with the bits of those around it."""
    for nonce, sequence, transmitted in ((0xA2, 70, 0), (0xB1, 69, 0), (0xDF, 67, 9_000)):
        bench.received(1, nonce, sequence, sequence * 100, transmitted)
    bench.served(1, 0xA2, 70, 0b11101)
    assert bench.feedback() == (0xDF, WALL + 6_700, 2_300, 0b11, 0b110)


@pytest.mark.parametrize(
    ("why", "sequence", "requests", "before"),
    [("before the peer restarted", 54, 1, 0b1), ("came twice", 69, 2, 0b1), ("not received", 69, 1, 0b0)],
)
def test_unfit_earlier_request_is_not_reported(
    bench: Bench, why: str, sequence: int, requests: int, before: int
) -> None:
    """The exchange in the slot before is not the request before the newest, or it came twice."""
    bench.received(1, 0xA2, 70, 7_000, 0)
    bench.received(1, 0xB1, sequence, 6_900, 9_000, requests)
    bench.served(1, 0xA2, 70, before)
    assert bench.feedback() == (0xA2, WALL + 7_000, 0, before, 0), why


def test_doubled_request_has_no_dwell(bench: Bench) -> None:
    """It is not known which of the two replies reached the peer."""
    bench.received(1, 0x50, 70, 1_000, 31_000, requests=2)
    bench.served(1, 0x50, 70, 0)
    assert bench.feedback() == (0x50, WALL + 1_000, 0, 0, 0)


@pytest.mark.parametrize(("dwell", "reported"), [(2**32 - 1, 2**32 - 1), (2**32, 0), (-5, 0)])
def test_dwell_that_does_not_fit_is_not_reported(bench: Bench, dwell: int, reported: int) -> None:
    """At most 4.29 s fits, and nothing below zero."""
    bench.received(1, 0x50, 70, 1_000, 1_000 + dwell)
    bench.served(1, 0x50, 70, 0)
    assert bench.feedback()[2] == reported


def test_request_whose_slot_was_taken_is_reported_as_received(bench: Bench) -> None:
    """By a newer one, or one of another stream: its dwell is lost, and t2 is that of the stream's last request."""
    bench.received(1, 0x150, 86, 2_000, 3_000)
    bench.served(1, 0x50, 70, 0b1, at_ns=1_000)
    assert bench.feedback() == (0x50, WALL + 1_000, 0, 0b1, 0)


@pytest.mark.parametrize(("known", "reported"), [(32, 16), (18, 16), (17, 15), (2, 0), (1, None)])
def test_known_sequences_are_counted_from_the_named_request(bench: Bench, known: int, reported: int | None) -> None:
    """The newest of `known` + 1 waits, and the one 2 before was answered. If that was overtaken by the first that is
    known, nothing is sure about the request between: it is not named."""
    bench.received(1, 0xA2, 70, 7_000, 0)
    bench.received(1, 0xC0, 68, 6_800, 9_000)
    bench.served(1, 0xA2, 70, 0b10, known=known)
    feedback = bench.sessions.feedback(1, WALL)
    assert feedback.report[0] == (0xA2 if reported is None else 0xC0)
    assert feedback.known == (known if reported is None else reported)


def test_streams_of_one_address_take_turns(bench: Bench) -> None:
    """Each is reported with its own requests, while both send; one that has fallen silent, no more.

    Requests with the same lowest bits of their nonces do not replace each other.
    """
    bench.received(1, 0x51, 33, 4_000, 5_000)
    bench.received(1, 0x61, 34, 6_000, 7_100, second=True)
    bench.served(1, 0x51, 33, 0, at_ns=4_000)
    bench.served(1, 0x61, 34, 0, at_ns=6_000, second=True)
    reports = [bench.sessions.feedback(1, WALL, turn=turn).report for turn in (0, 1)]
    assert [struct.unpack("<QQIHH", report)[2] for report in reports] == [1_000, 1_100]
    assert bench.named(4_000) == [0x51, 0x61, 0x51, 0x61]
    assert bench.named(4_001) == [0x61] * 4


def test_earlier_request_of_another_stream_is_not_reported(bench: Bench) -> None:
    """It has the sequence and the slot of the request before the newest."""
    bench.received(1, 0xA2, 70, 7_000, 0)
    bench.received(1, 0xB1, 69, 6_900, 9_000, stream=STREAM + 1)
    bench.served(1, 0xA2, 70, 0b1)
    assert bench.feedback() == (0xA2, WALL + 7_000, 0, 0b1, 0)


def test_request_of_no_stream_is_reported_while_no_stream_is_alive(bench: Bench) -> None:
    """Alone where the peer never proved itself; in turns with a stream that has fallen silent; else not at all."""
    bench.candidate(1, 0x77)
    assert bench.named(0) == [0x77] * 4
    assert bench.feedback() == (0x77, 0, 0, 0, 0)
    bench.received(1, 0x51, 33, 4_000, 5_000)
    bench.served(1, 0x51, 33, 0, at_ns=4_000)
    assert bench.named(4_001) == [0x51, 0x77, 0x51, 0x77]
    assert bench.named(4_000) == [0x51] * 4


@pytest.mark.parametrize(
    ("before", "back", "expected"),
    [
        (0b0110, 0, (0b0110, 0)),
        (0b0001, 1, (0, 0b1)),
        (0b1001, 1, (0b100, 0b1)),
        (0b0100, 3, (0, 0b100)),
        (0xFFFFFFFF, 15, (0xFFFF, 0x7FFF)),
        (0x4000, 15, (0, 0x4000)),
    ],
)
def test_bits_around_an_earlier_request(before: int, back: int, expected: tuple[int, int]) -> None:
    """Counted from the named request; the newest is the highest bit of `after`."""
    assert around(before, back) == expected


def test_reports_of_the_peer_are_read(bench: Bench) -> None:
    """The dwell of the last reported probe, and which probes were received; None for other targets."""
    report = struct.pack("<QQQQIHHQ", 5_000, 9, 0x77, 0, 0, 0b11, 0b1, 0x93)
    bench.sums[SESSION + CANDIDATE_AT + 8 : 2 * SESSION] = report
    bench.peer_report(1, 0x93, WALL, 250)
    assert bench.sessions.reported_nonce(1) == 0x93
    assert bench.sessions.peer_report_of(1, 0x93) == PeerReport(0x93, WALL, 250)
    assert bench.sessions.reception_report(1) == ReceptionReport(5_000, 0x77, 0b11, 0b1, 9)
    for other in (0, 2):
        assert bench.sessions.reported_nonce(other) == 0
        assert bench.sessions.peer_report_of(other, 0) is None
        assert bench.sessions.reception_report(other) is None
    bench.peer_report(1, 0xA3, WALL, 300)  # the slot is reused
    assert bench.sessions.peer_report_of(1, 0x93) is None


def test_histograms_are_read_by_target(bench: Bench) -> None:
    """The network RTT comes first, then the dwell."""
    struct.pack_into("<QQI", bench.sums, 2 * SESSION, 7, 700, 7)
    struct.pack_into("<QQ", bench.sums, 2 * SESSION + DWELL_AT, 3, 300)
    struct.pack_into("<I", bench.sums, 2 * SESSION + DWELL_AT + 16 + 4 * 185, 3)
    network, dwell = bench.sessions.network_rtt(2), bench.sessions.dwell(2)
    assert (network.count, network.sum_ns, network.buckets[0]) == (7, 700, 7)
    assert (dwell.count, dwell.sum_ns, dwell.buckets[185]) == (3, 300, 3)
    assert bench.sessions.network_rtt(1).count == bench.sessions.dwell(1).count == 0


def test_clearing_a_target_keeps_the_others(bench: Bench) -> None:
    """Its 32 exchanges and its session are zeros; those before and after keep every byte."""
    bench.exchanges[:] = b"\xaa" * len(bench.exchanges)
    bench.sums[:] = b"\xbb" * len(bench.sums)
    bench.sessions.clear(1)
    of_one = 2 * 16 * EXCHANGE
    assert bench.exchanges == b"\xaa" * of_one + bytes(of_one) + b"\xaa" * of_one
    assert bench.sums == b"\xbb" * SESSION + bytes(SESSION) + b"\xbb" * SESSION


def test_settings_and_rejected_feedback(bench: Bench) -> None:
    """The wall clock may be behind the monotonic one; one socket suffices; reasons are in the order of the header."""
    bench.sessions.set_wall_offset(-2)
    assert bench.settings == b"\xfe" + b"\xff" * 7 + bytes(40)
    bench.sessions.set_own(0x1234, [5, 6, 7, 8])
    assert bench.settings[8:] == struct.pack("<QQQQQ", 5, 6, 7, 8, 0x1234)
    bench.sessions.set_own(0x1234, [5])
    assert bench.settings[8:] == struct.pack("<QQQQQ", 5, 0, 0, 0, 0x1234)
    with pytest.raises(ValueError, match="5 sockets are more than SENDING_SOCKETS"):
        bench.sessions.set_own(0x1234, range(5))
    struct.pack_into("<13Q", bench.counts, 0, *range(2, 15))
    assert bench.sessions.rejected_feedback() == {
        "unknown_peer": 11,
        "nonce_mismatch": 12,
        "dwell_over_rtt": 13,
        "clock_apart": 14,
    }


def test_peer_that_leaves_is_removed_from_the_index(bench: Bench) -> None:
    """The index holds the peers of the last call, each once, and no others."""
    first, second, third = (bytes([number] * 16) for number in (1, 2, 3))
    assert bench.sessions.set_peer_index({first: 0, second: 1}) == 0
    assert bench.sessions.set_peer_index({second: 1, third: 2}) == 0
    entries = struct.iter_unpack("<16sII", bench.peer_index)
    assert sorted(entry for entry in entries if entry[2]) == [(second, 1, 1), (third, 2, 1)]
