"""The largest part, the part that rose, and where probes were lost. Times in these tests are microseconds."""

from __future__ import annotations

import pytest

from monlat_ebpf.cli.diagnosis import Part, Queued, Times, Usual, diagnosis, duration, recent_parts
from monlat_ebpf.model import Result


def answered(send_delay: float, rtt: float, dwell: float | None) -> Times:
    return Times(Result.REPLY, send_delay / 1e6, rtt / 1e6, None if dwell is None else dwell / 1e6)


def lost(result: Result) -> Times:
    return Times(result, 80e-6)


def usual(send_delay: float, rtt: float, network_rtt: float) -> Usual:
    return Usual(send_delay / 1e6, rtt / 1e6, network_rtt / 1e6)


IDLE = usual(80.0, 60.0, 20.0)  # the usual dwell is 60 - 20 = 40 us


@pytest.mark.parametrize(
    ("probe", "part", "text"),
    [
        (
            answered(60_000.0, 100.0, 40.0),
            Part.SEND_DELAY,
            "The largest part is the send delay, 60.0 ms (usually 80.0 µs), 100 % of all: a queue on this node "
            "(this node's stack, and the queue before its device).",
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
            "(the network, both directions).",
        ),
    ],
)
def test_part_that_rose_is_named(probe: Times, part: Part, text: str) -> None:
    """60 ms in one part (usually 80, 40 or 20 us) is a queue on this node, a slow peer or a slow network."""
    found = diagnosis([probe] * 13, IDLE)
    assert (found.largest, found.risen, found.lost_mostly) == (part, part, None)
    assert found.text == text


def test_usual_times_have_a_largest_part_and_none_that_rose() -> None:
    """70 of 70 + 20 + 35 = 125 us are 56 %."""
    found = diagnosis([answered(70.0, 55.0, 35.0)] * 3, IDLE)
    assert (found.largest, found.risen) == (Part.SEND_DELAY, None)
    assert found.text == (
        "The largest part is the send delay, 70.0 µs (usually 80.0 µs), 56 % of all: this node's stack."
    )


def test_send_delay_of_a_stack_is_no_queue() -> None:
    """50 of 50 + 20 + 12 us are 61 %, and 6 times the usual 8 us; no queue is named."""
    found = diagnosis([answered(50.0, 32.0, 12.0)] * 16, usual(8.0, 32.0, 20.0))
    assert (found.largest, found.risen) == (Part.SEND_DELAY, None)
    assert found.text == (
        "The largest part is the send delay, 50.0 µs (usually 8.00 µs), 61 % of all: this node's stack."
    )


@pytest.mark.parametrize(("send_delay", "risen"), [(100.0, None), (101.0, Part.SEND_DELAY)])
def test_send_delay_that_rose_over_a_hundred_microseconds_is_a_queue(send_delay: float, risen: Part | None) -> None:
    """Usually it is 30 us, so both values are more than twice as much and more than 50 us above it."""
    found = diagnosis([answered(send_delay, 60.0, 40.0)] * 3, usual(30.0, 60.0, 20.0))
    assert (found.largest, found.risen) == (Part.SEND_DELAY, risen)
    assert ("queue" in found.text) is (risen is Part.SEND_DELAY)


def test_queue_that_is_always_there_may_be_the_reason_of_a_long_send_delay() -> None:
    """3 ms that did not rise: the stack and the queue are named, and no rise."""
    found = diagnosis([answered(3_000.0, 60.0, 40.0)] * 3, usual(3_000.0, 60.0, 20.0))
    assert found.risen is None
    assert found.text.endswith("this node's stack, and the queue before its device.")


def test_part_that_rose_is_named_beside_a_larger_one_that_did_not() -> None:
    """On a long distance the network is always the largest part; the send delay rose to 60 ms."""
    far = usual(80.0, 140_000.0, 139_960.0)
    found = diagnosis([answered(60_000.0, 140_000.0, 40.0)] * 3, far)
    assert (found.largest, found.risen) == (Part.NETWORK, Part.SEND_DELAY)
    assert found.text == (
        "The largest part is the network RTT, 140 ms (usually 140 ms), 70 % of all: "
        "the network, both directions. "
        "The send delay rose to 60.0 ms (usually 80.0 µs): a queue on this node."
    )


@pytest.mark.parametrize(("send_delay", "risen"), [(160.0, None), (161.0, Part.SEND_DELAY), (129.0, None)])
def test_rise_is_more_than_twice_the_usual_time(send_delay: float, risen: Part | None) -> None:
    """Twice 80 us is not a rise, a microsecond more is."""
    assert diagnosis([answered(send_delay, 60.0, 40.0)], IDLE).risen is risen


@pytest.mark.parametrize(("network", "risen"), [(70.0, None), (71.0, Part.NETWORK)])
def test_rise_is_more_than_fifty_microseconds(network: float, risen: Part | None) -> None:
    """For a network that usually takes 20 us, 70 us are more than twice as much, but not 50 us more."""
    assert diagnosis([answered(80.0, network + 40.0, 40.0)], IDLE).risen is risen


@pytest.mark.parametrize(("dwell", "risen"), [(20_000.0, None), (20_001.0, Part.DWELL)])
def test_rise_is_more_than_the_error_of_the_usual_dwell(dwell: float, risen: Part | None) -> None:
    """The usual dwell is a difference of two medians: it can be wrong by a fifth of the usual RTT, here 20 ms."""
    far = usual(80.0, 100_000.0, 101_000.0)
    assert diagnosis([answered(80.0, 100_000.0 + dwell, dwell)], far).risen is risen


def test_nothing_rises_without_usual_times() -> None:
    """The first probes of a pair have no usual times to compare with."""
    found = diagnosis([answered(60_000.0, 50.0, 40.0)], Usual())
    assert (found.largest, found.risen) == (Part.SEND_DELAY, None)
    assert found.text.startswith("The largest part is the send delay, 60.0 ms, 100 % of all: this node's stack")


def test_rtt_is_one_part_without_an_agent_at_the_peer() -> None:
    """Network and peer are not separate, and the text says why."""
    found = diagnosis([answered(80.0, 60_000.0, None)] * 3, Usual(80e-6, 60e-6))
    assert (found.largest, found.risen) == (Part.NETWORK_AND_PEER, Part.NETWORK_AND_PEER)
    assert "a slow network or a slow peer (network and peer together: no agent" in found.text


def test_parts_are_medians_over_the_probes_that_have_them() -> None:
    """Send delays 10, 20, 90; network 30 - 10 = 20 and 50 - 20 = 30 of the two reported probes."""
    probes = [
        answered(10.0, 30.0, 10.0),
        answered(20.0, 50.0, 20.0),
        answered(90.0, 7_000.0, None),
        lost(Result.LOST_RETURN),
    ]
    assert recent_parts(probes) == pytest.approx({Part.SEND_DELAY: 20e-6, Part.NETWORK: 25e-6, Part.DWELL: 15e-6})


@pytest.mark.parametrize(
    ("forward", "backward", "where"),
    [
        (50_000.0, 100.0, "on the way to the peer"),
        (100.0, 50_000.0, "on the way back"),
        (30_000.0, 20_000.0, "both directions"),
    ],
)
def test_direction_of_a_network_that_rose_is_named(forward: float, backward: float, where: str) -> None:
    """A direction is named when its queueing is more than twice the other's."""
    text = diagnosis([answered(80.0, 60_000.0, 40.0)], IDLE, Queued(forward / 1e6, backward / 1e6)).text
    assert where in text
    assert text.endswith("back, above the minimum of the last 61 exchanges.")


def test_queueing_is_not_mentioned_when_the_network_did_not_rise() -> None:
    """There are always some microseconds of it."""
    assert "wait in queues" not in diagnosis([answered(80.0, 60.0, 40.0)], IDLE, Queued(9e-6, 1e-6)).text


def test_direction_without_queueing_is_not_named() -> None:
    """After a minute of queueing, its minimum is as slow as the last exchange: below 50 us there is no direction."""
    rose = [answered(80.0, 60_000.0, 40.0)]
    assert "wait in queues" not in diagnosis(rose, IDLE, Queued(0.0, 0.7e-6)).text
    assert "wait in queues" in diagnosis(rose, IDLE, Queued(0.0, 51e-6)).text


def test_text_says_where_probes_were_lost() -> None:
    """Of 5 probes 3 were lost, 2 of them on the way back."""
    probes = [answered(70.0, 55.0, 35.0)] * 2 + [lost(Result.LOST_RETURN)] * 2 + [lost(Result.LOST_FORWARD)]
    found = diagnosis(probes, IDLE)
    assert found.lost_mostly is Result.LOST_RETURN
    assert found.text.endswith(
        " Of the last 5 probes 3 had no reply, 2 of them on the way back: the peer received them."
    )


def test_silent_peer_has_only_losses() -> None:
    """Without a reply no part is known."""
    found = diagnosis([lost(Result.LOST_HOST)] * 16, IDLE)
    assert (found.largest, found.risen, found.lost_mostly) == (None, None, Result.LOST_HOST)
    assert found.text == "Of the last 16 probes 16 had no reply, on this node: no driver had them in time."


def test_every_loss_has_a_text() -> None:
    """Each result except a reply has its own words."""
    for result in set(Result) - {Result.REPLY}:
        assert "1 had no reply, " in diagnosis([lost(result)], IDLE).text


def test_text_without_probes() -> None:
    """A new pair has no probes yet."""
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
def test_duration_has_three_digits_and_a_unit(microseconds: float, text: str) -> None:
    """From microseconds to seconds."""
    assert duration(microseconds / 1e6) == text
