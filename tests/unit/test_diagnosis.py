"""Which part is named, what is said to have risen, and where probes were lost."""

from __future__ import annotations

import pytest

from monlat_ebpf.cli.diagnosis import Part, Queued, Times, Usual, diagnosis, duration, recent_parts
from monlat_ebpf.model import Result

IDLE = Usual(send_delay_us=80.0, rtt_us=60.0, network_us=20.0)  # and so a dwell of 40 us


def answered(send_delay: float, rtt: float, dwell: float | None) -> Times:
    return Times(Result.REPLY, send_delay, rtt, dwell)


def lost(result: Result) -> Times:
    return Times(result, 80.0)


@pytest.mark.parametrize(
    ("probe", "part", "said"),
    [
        (
            answered(60_000.0, 100.0, 40.0),
            Part.SEND_DELAY,
            "The largest part is the send delay, 60.0 ms (usually 80.0 µs), 100 % of all: a queue on this node "
            "(this node's own stack, and the queue before its device).",
        ),
        (
            answered(100.0, 60_100.0, 60_000.0),
            Part.DWELL,
            "The largest part is the dwell, 60.0 ms (usually 40.0 µs), 100 % of all: a slow peer "
            "(the peer's kernel, and the queue before its device).",
        ),
        (
            answered(100.0, 60_000.0, 40.0),
            Part.NETWORK,
            "The largest part is the network RTT, 60.0 ms (usually 20.0 µs), 100 % of all: a slow network "
            "(the network, both directions of it).",
        ),
    ],
)
def test_the_part_that_rose_is_the_largest_and_named(probe: Times, part: Part, said: str) -> None:
    """60 ms in one part, where 80, 40 or 20 us are usual, is a queue here, a slow peer, a slow network."""
    found = diagnosis([probe] * 13, IDLE)
    assert (found.largest, found.risen, found.lost_mostly) == (part, part, None)
    assert found.text == said


def test_a_quiet_pair_has_a_largest_part_and_nothing_that_rose() -> None:
    """70 of 70 + 20 + 35 = 125 us are 56 %."""
    found = diagnosis([answered(70.0, 55.0, 35.0)] * 3, IDLE)
    assert (found.largest, found.risen) == (Part.SEND_DELAY, None)
    assert found.text == (
        "The largest part is the send delay, 70.0 µs (usually 80.0 µs), 56 % of all: "
        "this node's own stack, and the queue before its device."
    )


def test_what_rose_is_said_beside_a_larger_part_that_did_not() -> None:
    """Over an ocean the network is the largest part as ever; that the send delay rose to 60 ms is said too."""
    far = Usual(send_delay_us=80.0, rtt_us=140_000.0, network_us=139_960.0)
    found = diagnosis([answered(60_000.0, 140_000.0, 40.0)] * 3, far)
    assert (found.largest, found.risen) == (Part.NETWORK, Part.SEND_DELAY)
    assert found.text == (
        "The largest part is the network RTT, 140 ms (usually 140 ms), 70 % of all: "
        "the network, both directions of it. "
        "What rose is the send delay, 60.0 ms (usually 80.0 µs): a queue on this node."
    )


@pytest.mark.parametrize(("send_delay", "risen"), [(160.0, None), (161.0, Part.SEND_DELAY), (129.0, None)])
def test_a_rise_is_more_than_twice_the_usual(send_delay: float, risen: Part | None) -> None:
    """Twice 80 us has not risen yet, a microsecond more has."""
    assert diagnosis([answered(send_delay, 60.0, 40.0)], IDLE).risen is risen


@pytest.mark.parametrize(("network", "risen"), [(70.0, None), (71.0, Part.NETWORK)])
def test_a_rise_is_more_than_fifty_microseconds(network: float, risen: Part | None) -> None:
    """Of a network that usually takes 20 us, 70 us are more than twice as much, and no news all the same."""
    assert diagnosis([answered(80.0, network + 40.0, 40.0)], IDLE).risen is risen


@pytest.mark.parametrize(("dwell", "risen"), [(20_000.0, None), (20_001.0, Part.DWELL)])
def test_a_rise_is_more_than_the_usual_dwell_may_be_wrong_by(dwell: float, risen: Part | None) -> None:
    """Of a usual RTT of 100 ms a fifth is 20 ms: so rough is the dwell that is the difference of two medians."""
    far = Usual(send_delay_us=80.0, rtt_us=100_000.0, network_us=101_000.0)
    assert diagnosis([answered(80.0, 100_000.0 + dwell, dwell)], far).risen is risen


def test_nothing_rises_where_nothing_usual_is_known() -> None:
    """The first probes of a pair have nothing to be compared with."""
    found = diagnosis([answered(60_000.0, 50.0, 40.0)], Usual())
    assert (found.largest, found.risen) == (Part.SEND_DELAY, None)
    assert found.text.startswith("The largest part is the send delay, 60.0 ms, 100 % of all: this node's own stack")


def test_without_an_agent_at_the_peer_the_rtt_is_one_part() -> None:
    """Network and peer cannot be told apart, and it is said."""
    found = diagnosis([answered(80.0, 60_000.0, None)] * 3, Usual(send_delay_us=80.0, rtt_us=60.0))
    assert (found.largest, found.risen) == (Part.NETWORK_AND_PEER, Part.NETWORK_AND_PEER)
    assert "a slow network or a slow peer (network and peer, which cannot be told apart" in found.text


def test_parts_are_medians_of_the_probes_of_which_they_are_known() -> None:
    """Send delays 10, 20, 90; in the network 30 - 10 = 20 and 50 - 20 = 30 of the two that were told; no loss."""
    probes = [
        answered(10.0, 30.0, 10.0),
        answered(20.0, 50.0, 20.0),
        answered(90.0, 7_000.0, None),
        lost(Result.LOST_RETURN),
    ]
    assert recent_parts(probes) == {Part.SEND_DELAY: 20.0, Part.NETWORK: 25.0, Part.DWELL: 15.0}


@pytest.mark.parametrize(
    ("forward", "backward", "where"),
    [
        (50_000.0, 100.0, "on the way there"),
        (100.0, 50_000.0, "on the way back"),
        (30_000.0, 20_000.0, "both directions"),
    ],
)
def test_a_network_that_rose_has_a_direction(forward: float, backward: float, where: str) -> None:
    """Queueing needs no synchronised clocks: the direction with over twice the other's is named."""
    text = diagnosis([answered(80.0, 60_000.0, 40.0)], IDLE, Queued(forward, backward)).text
    assert where in text
    assert text.endswith("back, above the least of the last 61.")


def test_queueing_is_not_spoken_of_when_the_network_did_not_rise() -> None:
    """Some microseconds of it are always there."""
    assert "waits" not in diagnosis([answered(80.0, 60.0, 40.0)], IDLE, Queued(9.0, 1.0)).text


def test_losses_are_told_by_place() -> None:
    """2 of 3 losses on the way back, of 5 probes."""
    probes = [answered(70.0, 55.0, 35.0)] * 2 + [lost(Result.LOST_RETURN)] * 2 + [lost(Result.LOST_FORWARD)]
    found = diagnosis(probes, IDLE)
    assert found.lost_mostly is Result.LOST_RETURN
    assert found.text.endswith(" Of the last 5 probes 3 had no reply, 2 of them on the way back: the peer saw them.")


def test_a_silent_peer_is_all_losses() -> None:
    """With no answer there is no part to name."""
    found = diagnosis([lost(Result.LOST_HOST)] * 16, IDLE)
    assert (found.largest, found.risen, found.lost_mostly) == (None, None, Result.LOST_HOST)
    assert found.text == "Of the last 16 probes 16 had no reply, on this node: no driver had them in time."


def test_every_result_but_a_reply_has_a_place() -> None:
    """None of them is forgotten in the words."""
    for result in set(Result) - {Result.REPLY}:
        assert "1 had no reply, " in diagnosis([lost(result)], IDLE).text


def test_no_probe_yet() -> None:
    """A pair that was just made."""
    found = diagnosis([], Usual())
    assert (found.largest, found.risen, found.lost_mostly) == (None, None, None)
    assert found.text == "No probe has ended yet."


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (0.0, "0.00 µs"),
        (9.99, "9.99 µs"),
        (9.996, "10.0 µs"),
        (99.96, "100 µs"),
        (999.4, "999 µs"),
        (999.6, "1.00 ms"),
        (60_000.0, "60.0 ms"),
        (999_600.0, "1.00 s"),
        (-4.2, "-4.20 µs"),
    ],
)
def test_durations_have_three_digits_and_a_unit(microseconds: float, text: str) -> None:
    """As people say them."""
    assert duration(microseconds) == text
