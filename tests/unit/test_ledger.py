"""How probes end, and that the counts add up after every step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.abi.probes import Completion
from monlat_ebpf.model import Family, Result
from monlat_ebpf.probing.ledger import InFlight, Ledger, Outcome, outcome_of

PROBE = InFlight(sequence=7, sent_ns=1_000, deadline_ns=2_000)


def completion(transmitted: int = 0, received: int = 0, error: tuple[int, int] = (0, 0)) -> Completion:
    return Completion(transmitted, received, 3 if transmitted else 0, *error)


@pytest.mark.parametrize(
    ("written", "expired", "outcome"),
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
        # sent by the driver after its deadline, whatever came back
        (completion(2_000), True, Outcome(7, Result.LOST_NETWORK, None, 1_000, 3)),
        (completion(2_001), True, Outcome(7, Result.LOST_HOST, None, 1_001, 3)),
        (completion(2_001, 2_050), True, Outcome(7, Result.LOST_HOST, None, 1_001, 3)),
        # an ICMP error
        (
            completion(1_100, 0, (3, 1)),
            False,
            Outcome(7, Result.UNREACHABLE, None, 100, 3, "icmp_destination_unreachable"),
        ),
        (completion(0, 0, (3, 13)), True, Outcome(7, Result.LOST_HOST, None, None, 0, "icmp_destination_unreachable")),
        # this host's own: nobody has the address of the next hop
        (completion(0, 0, (3, 1)), True, Outcome(7, Result.UNREACHABLE, None, None, 0, "no_neighbour")),
        # t4 is written and t1 is not yet: both are there at the next read
        (completion(0, 1_500), False, None),
        (completion(0, 0, (3, 1)), False, None),
        (completion(0, 1_500), True, Outcome(7, Result.REPLY)),
    ],
)
def test_outcome(written: Completion, expired: bool, outcome: Outcome | None) -> None:
    """A probe ends by what the source wrote; before it has expired, only by what cannot change any more."""
    assert outcome_of(PROBE, written, Family.IPV4, expired=expired) == outcome


def test_errors_are_named_by_family() -> None:
    """Type 1 is a destination unreachable of IPv6, and no type of IPv4 that has a name."""
    names = []
    for family in Family:
        outcome = outcome_of(PROBE, completion(1_100, 0, (1, 0)), family, expired=False)
        assert outcome is not None
        names.append(outcome.error)
    assert names == ["icmp_type_1", "icmp_destination_unreachable"]


def test_no_link_address_is_named_by_family() -> None:
    """ICMPv6 says it with type 1 and code 3, and with 3, 1 that the hop limit was exceeded in reassembly."""
    outcomes = [outcome_of(PROBE, completion(0, 0, error), Family.IPV6, expired=True) for error in ((1, 3), (3, 1))]
    assert outcomes == [
        Outcome(7, Result.UNREACHABLE, None, None, 0, "no_neighbour"),
        Outcome(7, Result.LOST_HOST, None, None, 0, "icmp_time_exceeded"),
    ]


def test_newest_result_and_oldest_probe() -> None:
    """The result is that of the highest sequence that ended, in whatever order they end."""
    ledger = Ledger()
    assert (ledger.newest_result, ledger.oldest_open) == (None, None)
    first, second = ledger.open(0, 10), ledger.open(1, 11)
    ledger.resolve(Outcome(1, Result.REPLY, 5))
    assert (ledger.newest_result, ledger.oldest_open) == (Result.REPLY, first)
    ledger.resolve(Outcome(0, Result.LOST_NETWORK))
    assert (ledger.newest_result, ledger.oldest_open) == (Result.REPLY, None)
    assert second.sequence == 1


def test_sequences_count_up_and_positions_repeat() -> None:
    """Of 37 probes that ended at once the n-th has sequence n, and the last 16 are kept."""
    ledger = Ledger()
    for number in range(37):
        assert ledger.overdue is None
        assert ledger.open(number, number + 1) == InFlight(number, number, number + 1)
        ledger.resolve(Outcome(number, Result.LOST_NETWORK))
    assert ledger.sent == 37
    assert [sequence for sequence, _ in ledger.last_ended()] == list(range(21, 37))


@pytest.mark.parametrize("positions", [16, 48])
def test_a_position_in_use_is_not_given_away(positions: int) -> None:
    """One probe more than there are positions finds the first still open: an error, and it is not counted."""
    ledger = Ledger(positions)
    for number in range(positions):
        ledger.open(number, number)
    assert ledger.overdue == InFlight(0, 0, 0)
    with pytest.raises(ValueError, match="position 0 still holds a probe"):
        ledger.open(positions, positions + 1)
    assert (ledger.sent, ledger.in_flight) == (positions, positions)


def test_round_trip_times_are_kept() -> None:
    """Last, least and most of three replies; then a loss clears the last and keeps the extremes."""
    ledger = Ledger()
    assert (ledger.last_rtt_ns, ledger.min_rtt_ns, ledger.max_rtt_ns) == (None, None, None)
    for sequence, rtt_ns in enumerate((300, 100, 200)):
        ledger.open(0, 1)
        ledger.resolve(Outcome(sequence, Result.REPLY, rtt_ns))
    assert (ledger.last_rtt_ns, ledger.min_rtt_ns, ledger.max_rtt_ns) == (200, 100, 300)
    ledger.open(0, 1)
    ledger.resolve(Outcome(3, Result.LOST_NETWORK))
    assert (ledger.last_rtt_ns, ledger.min_rtt_ns, ledger.max_rtt_ns) == (None, 100, 300)


def test_reply_without_an_rtt_leaves_the_last_one() -> None:
    """No hook saw its request leave, so it has no t1: a reply, and the last, least and most RTT stay as they were."""
    ledger = Ledger()
    for sequence, rtt_ns in enumerate((5, None)):
        ledger.open(0, 1)
        ledger.resolve(Outcome(sequence, Result.REPLY, rtt_ns))
    assert (ledger.last_rtt_ns, ledger.min_rtt_ns, ledger.max_rtt_ns) == (5, 5, 5)
    assert ledger.results[Result.REPLY] == 2


def test_expired_probe_takes_away_the_last_rtt_and_stays_in_flight() -> None:
    """Probe 1 expires: no last RTT. Probe 2 is answered: its RTT stays when probe 1 expires again, and when it ends."""
    ledger = Ledger()
    for _ in range(3):
        ledger.open(0, 10)
    ledger.resolve(Outcome(0, Result.REPLY, 5))
    ledger.expire(1)
    assert (ledger.last_rtt_ns, ledger.in_flight) == (None, 2)
    ledger.resolve(Outcome(2, Result.REPLY, 7))
    ledger.expire(1)
    ledger.resolve(Outcome(1, Result.LOST_RETURN))
    assert (ledger.last_rtt_ns, ledger.in_flight, ledger.results[Result.LOST_RETURN]) == (7, 0, 1)


def test_an_old_loss_does_not_hide_a_newer_reply() -> None:
    """Probe 1 is answered while probe 0 is in flight; when probe 0 is lost, the last RTT stays that of probe 1."""
    ledger = Ledger()
    ledger.open(0, 10)
    ledger.open(1, 11)
    ledger.resolve(Outcome(1, Result.REPLY, 5))
    ledger.resolve(Outcome(0, Result.LOST_NETWORK))
    assert ledger.last_rtt_ns == 5


def test_open_probes_may_be_resolved_while_they_are_walked() -> None:
    """All 5 are seen, oldest first, though each is resolved as it comes."""
    ledger = Ledger()
    for number in range(5):
        ledger.open(number, 10)
    walked = []
    for probe in list(ledger.unresolved.values()):
        walked.append(probe.sequence)
        ledger.resolve(Outcome(probe.sequence, Result.REPLY, 1))
    assert walked == [0, 1, 2, 3, 4]
    assert ledger.in_flight == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 15), st.sampled_from(list(Result))), max_size=200))
def test_every_probe_has_one_result_or_is_in_flight(steps: list[tuple[bool, int, Result]]) -> None:
    """Probes opened and resolved in any order: sent is always the sum of the results and those in flight."""
    ledger = Ledger()
    opened = resolved = 0
    for opens, age, result in steps:
        probe = ledger.unresolved.get(ledger.sent - 1 - age)
        if opens and ledger.overdue is None:
            ledger.open(0, 1)
            opened += 1
        elif probe is not None:
            ledger.resolve(Outcome(probe.sequence, result, 1 if result is Result.REPLY else None))
            resolved += 1
        assert ledger.sent == opened
        assert sum(ledger.results.values()) == resolved
        assert ledger.sent == sum(ledger.results.values()) + ledger.in_flight
