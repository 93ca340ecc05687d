"""How probes end, and that the account is right after every step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.abi.probes import Completion
from monlat_ebpf.model import Result
from monlat_ebpf.probing.ledger import InFlight, Ledger, Outcome, outcome_of

PROBE = InFlight(sequence=7, sent_ns=1_000, deadline_ns=2_000)


def completion(transmitted: int = 0, received: int = 0, error: tuple[int, int] = (0, 0)) -> Completion:
    return Completion(transmitted, received, 3 if transmitted else 0, *error)


@pytest.mark.parametrize(
    ("written", "closed", "outcome"),
    [
        # open until something is known, or the deadline
        (completion(), False, None),
        (completion(1_100), False, None),
        (completion(1_100, 2_001), False, None),
        # a reply, at the deadline at the latest
        (completion(1_100, 1_500), False, Outcome(7, Result.REPLY, 400, 100, 3)),
        (completion(1_100, 2_000), True, Outcome(7, Result.REPLY, 900, 100, 3)),
        # nothing by then, or too late
        (completion(1_100), True, Outcome(7, Result.LOST_NETWORK, None, 100, 3)),
        (completion(1_100, 2_001), True, Outcome(7, Result.LOST_NETWORK, None, 100, 3)),
        (completion(), True, Outcome(7, Result.LOST_HOST)),
        # held here past its deadline, whatever came of it then
        (completion(2_000), True, Outcome(7, Result.LOST_NETWORK, None, 1_000, 3)),
        (completion(2_001), True, Outcome(7, Result.LOST_HOST, None, 1_001, 3)),
        (completion(2_001, 2_050), True, Outcome(7, Result.LOST_HOST, None, 1_001, 3)),
        # an ICMP error
        (completion(1_100, 0, (3, 1)), False, Outcome(7, Result.UNREACHABLE, None, 100, 3, (3, 1))),
        (completion(0, 0, (3, 1)), True, Outcome(7, Result.LOST_HOST, None, None, 0, (3, 1))),
        # t4 read before t1 was written: both are there when it is read again
        (completion(0, 1_500), False, None),
        (completion(0, 0, (3, 1)), False, None),
        (completion(0, 1_500), True, Outcome(7, Result.REPLY)),
    ],
)
def test_outcome(written: Completion, closed: bool, outcome: Outcome | None) -> None:
    """What the source wrote decides; before the deadline only what cannot change any more does."""
    assert outcome_of(PROBE, written, closed=closed) == outcome


def test_sequences_and_places_go_round() -> None:
    """The n-th probe has sequence n and place n modulo 16, whatever became of the ones before."""
    ledger = Ledger()
    for number in range(37):
        place = ledger.next_place()
        assert place == number % 16
        assert ledger.open(place, number, number + 1) == number
        ledger.decide(place, Outcome(number, Result.LOST_NETWORK))
    assert ledger.sent == 37


def test_a_place_in_use_is_not_given_away() -> None:
    """The 17th probe finds the first still open: an error, and nothing was counted."""
    ledger = Ledger()
    for number in range(16):
        ledger.open(ledger.next_place(), number, number)
    with pytest.raises(ValueError, match="place 0 still holds a probe"):
        ledger.open(ledger.next_place(), 16, 17)
    assert (ledger.sent, ledger.in_flight) == (16, 16)


def test_round_trip_times_are_kept() -> None:
    """Last, least and most of three replies; a loss in the end takes the last away, not the extremes."""
    ledger = Ledger()
    assert (ledger.last_rtt_ns, ledger.min_rtt_ns, ledger.max_rtt_ns) == (None, None, None)
    for sequence, rtt_ns in enumerate((300, 100, 200)):
        ledger.open(ledger.next_place(), 0, 1)
        ledger.decide(sequence, Outcome(sequence, Result.REPLY, rtt_ns))
    assert (ledger.last_rtt_ns, ledger.min_rtt_ns, ledger.max_rtt_ns) == (200, 100, 300)
    ledger.open(ledger.next_place(), 0, 1)
    ledger.decide(3, Outcome(3, Result.LOST_NETWORK))
    assert (ledger.last_rtt_ns, ledger.min_rtt_ns, ledger.max_rtt_ns) == (None, 100, 300)


def test_an_old_loss_does_not_hide_a_newer_reply() -> None:
    """Probe 1 is answered while probe 0 is open; as probe 0 is lost at last, the last RTT stays probe 1's."""
    ledger = Ledger()
    ledger.open(0, 0, 10)
    ledger.open(1, 1, 11)
    ledger.decide(1, Outcome(1, Result.REPLY, 5))
    ledger.decide(0, Outcome(0, Result.LOST_NETWORK))
    assert ledger.last_rtt_ns == 5


def test_open_probes_may_be_decided_while_they_are_walked() -> None:
    """All 5 are seen, oldest first, though each is closed as it comes."""
    ledger = Ledger()
    for number in range(5):
        ledger.open(number, number, 10)
    walked = []
    for place, probe in ledger.open_probes():
        walked.append(probe.sequence)
        ledger.decide(place, Outcome(probe.sequence, Result.REPLY, 1))
    assert walked == [0, 1, 2, 3, 4]
    assert ledger.in_flight == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 15), st.sampled_from(list(Result))), max_size=200))
def test_every_probe_has_one_result_or_is_in_flight(steps: list[tuple[bool, int, Result]]) -> None:
    """Probes opened and decided in any order: sent is the sum of the results and those in flight, always."""
    ledger = Ledger()
    opened = decided = 0
    for opens, place, result in steps:
        probe = ledger.probe_at(place)
        if opens and ledger.probe_at(ledger.next_place()) is None:
            ledger.open(ledger.next_place(), 0, 1)
            opened += 1
        elif probe is not None:
            ledger.decide(place, Outcome(probe.sequence, result, 1 if result is Result.REPLY else None))
            decided += 1
        assert ledger.sent == opened
        assert sum(ledger.results.values()) == decided
        assert ledger.sent == sum(ledger.results.values()) + ledger.in_flight
