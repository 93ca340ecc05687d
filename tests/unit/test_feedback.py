"""Where a probe was lost, by the peer's reception report; and nonces."""

from __future__ import annotations

import pytest

from monlat_ebpf.abi.sessions import ReceptionReport
from monlat_ebpf.model import Result
from monlat_ebpf.probing.feedback import TargetHistory, new_nonce, where_lost

UNKNOWN, FORWARD, RETURN = Result.LOST_NETWORK, Result.LOST_FORWARD, Result.LOST_RETURN
SENT = 10_000_000_000
LONGEST = 3_000_000
SOON, LATE = SENT + LONGEST + 200_000_000, SENT + LONGEST + 200_000_001

CASES = [
    ("the report names it", 100, 0, 0, SOON, RETURN),
    ("the next was seen, and this one before it", 101, 0b1, 0, SOON, RETURN),
    ("the next was seen, and not this one", 101, 0b0, 0, SOON, FORWARD),
    ("the next was seen, and the one before this", 101, 0b10, 0, SOON, FORWARD),
    ("16 later was seen, and this one", 116, 1 << 15, 0, SOON, RETURN),
    ("16 later was seen, and not this one", 116, 0x7FFF, 0, SOON, FORWARD),
    ("further ahead than the report covers", 117, 0xFFFF, 0, SOON, UNKNOWN),
    ("its reply is still queued", 99, 0, 0b1, SOON, RETURN),
    ("two before it, both replies queued", 98, 0, 0b11, SOON, RETURN),
    ("its reply is queued, the one between was lost", 98, 0, 0b10, SOON, RETURN),
    ("a later reply is queued, not this one", 98, 0, 0b101, SOON, FORWARD),
    ("only the reply to one before is queued", 98, 0, 0b01, SOON, UNKNOWN),
    ("only the reply to one before is queued, long after", 98, 0, 0b01, LATE, FORWARD),
    ("an earlier one, just after", 99, 0xFFFF, 0, SOON, UNKNOWN),
    ("an earlier one, long after", 99, 0xFFFF, 0, LATE, FORWARD),
    ("an earlier one, before this was sent", 99, 0xFFFF, 0, SENT - 1, UNKNOWN),
    ("far earlier, long after", 80, 0xFFFF, 0xFFFF, LATE, FORWARD),
]


@pytest.mark.parametrize(
    ("named", "before", "after", "at_ns", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_where_probe_100_was_lost(named: int, before: int, after: int, at_ns: int, expected: Result) -> None:
    """The peer's last report came at `at_ns`, names the sequence `named`, and covers those around it."""
    assert where_lost(100, SENT, ReceptionReport(at_ns, 1, before, after), named, LONGEST) is expected


def test_without_a_usable_report_it_is_not_known_where() -> None:
    """No agent there, a report about a probe that has no slot any more, or no RTT yet to compare with."""
    assert where_lost(100, SENT, None, None, LONGEST) is UNKNOWN
    assert where_lost(100, SENT, ReceptionReport(LATE, 1, 0, 0), None, LONGEST) is UNKNOWN
    assert where_lost(100, SENT, ReceptionReport(LATE, 1, 0, 0), 99, None) is UNKNOWN


def test_nonces_name_their_position_and_are_never_zero() -> None:
    """1,009 of each of 37 sequences: 64 bits, all different; the lowest four are the sequence modulo 16."""
    for sequence in range(37):
        nonces = [new_nonce(sequence) for _ in range(1_009)]
        assert all(0 < nonce < 2**64 and nonce % 16 == sequence % 16 for nonce in nonces)
        assert len(set(nonces)) == 1_009


def test_history_keeps_the_last_probe_of_each_position() -> None:
    """Of 40 probes the last 16, by their nonces."""
    history = TargetHistory()
    nonces = [new_nonce(sequence) for sequence in range(40)]
    for sequence, nonce in enumerate(nonces):
        history.add(nonce, sequence)
    assert history.sequences == dict(zip(nonces[24:], range(24, 40), strict=True))
