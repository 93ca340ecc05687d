"""Where a probe was lost, by the peer's word; and nonces."""

from __future__ import annotations

import pytest

from monlat_ebpf.abi.sessions import ReceptionReport
from monlat_ebpf.model import Result
from monlat_ebpf.probing.feedback import Memory, new_nonce, where_lost

UNKNOWN, FORWARD, RETURN = Result.LOST_NETWORK, Result.LOST_FORWARD, Result.LOST_RETURN
SENT = 10_000_000_000
LONGEST = 3_000_000
SOON, LATE = SENT + LONGEST + 200_000_000, SENT + LONGEST + 200_000_001

CASES = [
    ("the word names it", 100, 0, 0, SOON, RETURN),
    ("the next was seen, and this one before it", 101, 0b1, 0, SOON, RETURN),
    ("the next was seen, and not this one", 101, 0b0, 0, SOON, FORWARD),
    ("the next was seen, and the one before this", 101, 0b10, 0, SOON, FORWARD),
    ("16 later was seen, and this one", 116, 1 << 15, 0, SOON, RETURN),
    ("16 later was seen, and not this one", 116, 0x7FFF, 0, SOON, FORWARD),
    ("further ahead than the word tells", 117, 0xFFFF, 0, SOON, UNKNOWN),
    ("waits to be answered", 99, 0, 0b1, SOON, RETURN),
    ("two before it, both wait", 98, 0, 0b11, SOON, RETURN),
    ("this one waits, the one between was lost", 98, 0, 0b10, SOON, RETURN),
    ("a later one waits, this one does not", 98, 0, 0b101, SOON, FORWARD),
    ("only one before this waits", 98, 0, 0b01, SOON, UNKNOWN),
    ("only one before this waits, long after", 98, 0, 0b01, LATE, FORWARD),
    ("an earlier one, just after", 99, 0xFFFF, 0, SOON, UNKNOWN),
    ("an earlier one, long after", 99, 0xFFFF, 0, LATE, FORWARD),
    ("an earlier one, before this was sent", 99, 0xFFFF, 0, SENT - 1, UNKNOWN),
    ("far earlier, long after", 80, 0xFFFF, 0xFFFF, LATE, FORWARD),
]


@pytest.mark.parametrize(
    ("named", "before", "after", "at_ns", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_where_probe_100_was_lost(named: int, before: int, after: int, at_ns: int, expected: Result) -> None:
    """The peer's last word came at that time, named that sequence, and said that of those around it."""
    assert where_lost(100, SENT, ReceptionReport(at_ns, 1, before, after), named, LONGEST) is expected


def test_without_a_word_nothing_is_known() -> None:
    """No agent there, a word on a probe too old to be remembered, or no RTT yet that tells late from soon."""
    assert where_lost(100, SENT, None, None, LONGEST) is UNKNOWN
    assert where_lost(100, SENT, ReceptionReport(LATE, 1, 0, 0), None, LONGEST) is UNKNOWN
    assert where_lost(100, SENT, ReceptionReport(LATE, 1, 0, 0), 99, None) is UNKNOWN


def test_nonces_name_their_place_and_are_never_zero() -> None:
    """1,009 of each place: 64 bits, the lowest four the place, all different."""
    for place in range(16):
        nonces = [new_nonce(place) for _ in range(1_009)]
        assert all(0 < nonce < 2**64 and nonce % 16 == place for nonce in nonces)
        assert len(set(nonces)) == 1_009


def test_the_last_probe_of_each_place_is_remembered() -> None:
    """Of 40 probes the last 16, by their nonces."""
    memory = Memory()
    nonces = [new_nonce(sequence % 16) for sequence in range(40)]
    for sequence, nonce in enumerate(nonces):
        memory.remember(nonce, sequence)
    assert memory.sequences == dict(zip(nonces[24:], range(24, 40), strict=True))
