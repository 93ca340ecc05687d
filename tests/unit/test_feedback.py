"""Where a probe was lost, by the peer's reception report; and nonces."""

from __future__ import annotations

import pytest

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.probes import Memories, ProbeTable, TableSize
from monlat_ebpf.abi.sessions import ReceptionReport, Sessions
from monlat_ebpf.host.wall_clock import WallClock
from monlat_ebpf.model import Result
from monlat_ebpf.probing.feedback import FeedbackChannel, TargetHistory, where_lost
from monlat_ebpf.probing.nonces import Nonces

UNKNOWN, FORWARD, RETURN = Result.LOST_NETWORK, Result.LOST_FORWARD, Result.LOST_RETURN
DEADLINE = 10_000_000_000
SOON, LATE = DEADLINE + 200_000_000, DEADLINE + 200_000_001

CASES = [
    ("the report names it", 100, 0, 0, 0, SOON, RETURN),
    ("the next was received, and this one before it", 101, 0b1, 0, 16, SOON, RETURN),
    ("the next was received, and not this one", 101, 0b0, 0, 1, SOON, FORWARD),
    ("the next was received, and the one before this", 101, 0b10, 0, 16, SOON, FORWARD),
    ("the next was the first that the peer knows of", 101, 0b0, 0, 0, LATE, UNKNOWN),
    ("received before the first that the peer knows of", 101, 0b1, 0, 0, SOON, RETURN),
    ("16 later was received, and this one", 116, 1 << 15, 0, 16, SOON, RETURN),
    ("16 later was received, and not this one", 116, 0x7FFF, 0, 16, SOON, FORWARD),
    ("16 later was received, the peer knows 15 before it", 116, 0x7FFF, 0, 15, LATE, UNKNOWN),
    ("further ahead than the report covers", 117, 0xFFFF, 0, 16, LATE, UNKNOWN),
    ("its reply is still queued", 99, 0, 0b1, 16, SOON, RETURN),
    ("two before it, both replies queued", 98, 0, 0b11, 16, SOON, RETURN),
    ("its reply is queued, the one between was lost", 98, 0, 0b10, 16, SOON, RETURN),
    ("a later reply is queued, not this one", 98, 0, 0b101, 0, SOON, FORWARD),
    ("only the reply to one before is queued", 98, 0, 0b01, 16, SOON, None),
    ("only the reply to one before is queued, long after", 98, 0, 0b01, 16, LATE, FORWARD),
    ("an earlier one, just after the deadline", 99, 0xFFFF, 0, 16, SOON, None),
    ("an earlier one, long after the deadline", 99, 0xFFFF, 0, 16, LATE, FORWARD),
    ("far earlier, long after the deadline", 20, 0xFFFF, 0x7FFF, 16, LATE, FORWARD),
]


@pytest.mark.parametrize(
    ("named", "before", "after", "known", "at_ns", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_where_probe_100_was_lost(
    named: int, before: int, after: int, known: int, at_ns: int, expected: Result | None
) -> None:
    """The peer's last report came at `at_ns`, names the sequence `named`, and covers those around it."""
    assert where_lost(100, DEADLINE, ReceptionReport(at_ns, 1, before, after, known), named) is expected


def test_probe_that_the_peer_goes_on_naming_is_known_after_its_slot() -> None:
    """Of 40 probes the peer named the third, and goes on: it received none after it. Another old one is not known."""
    size = TableSize(1)
    memories = {name: bytearray(length) for name, length in size.map_bytes().items()}
    table = ProbeTable(size, memories)
    channel = FeedbackChannel(Sessions(size, memories), table, WallClock())
    history, nonces = TargetHistory(), Nonces()
    sent = [nonces.next(sequence) for sequence in range(40)]
    for sequence, nonce in enumerate(sent):
        table.arm(sequence % 16, nonce=nonce, sent_ns=1, deadline_ns=DEADLINE, address=bytes(16))
        if sequence >= 2:
            report_on(memories, sent[2])
            assert channel.where_lost(0, history, 2, DEADLINE, sequence) is RETURN
            assert sequence == 2 or channel.where_lost(0, history, sequence, DEADLINE, sequence) is FORWARD
    report_on(memories, sent[3])
    assert channel.where_lost(0, history, 39, DEADLINE, 39) is UNKNOWN


def report_on(memories: Memories, nonce: int) -> None:
    """Let the peer have reported, long after the deadline, that the probe with that nonce was the last it received."""
    report = layout.SESSION.part("report_received", "report")
    report.write(memories["sessions"], 0, LATE, 16, nonce, 0, 0, 0, 0)


def test_every_target_has_a_stream_of_its_own() -> None:
    """1,009 histories: 64 bits, all different, none zero."""
    streams = {TargetHistory().stream for _ in range(1_009)}
    assert len(streams) == 1_009
    assert all(0 < stream < 2**64 for stream in streams)


def test_nonces_name_their_position_and_are_never_zero() -> None:
    """1,009 of each of 37 sequences: 64 bits, all different; the lowest four are the sequence modulo 16."""
    source = Nonces()
    for sequence in range(37):
        nonces = [source.next(sequence) for _ in range(1_009)]
        assert all(0 < nonce < 2**64 and nonce % 16 == sequence % 16 for nonce in nonces)
        assert len(set(nonces)) == 1_009
