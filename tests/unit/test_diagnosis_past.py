"""What is usual for a cell, what is slow against it, and what moves it."""

from __future__ import annotations

from array import array

import pytest

from monlat_ebpf.abi.histogram import bucket_of
from monlat_ebpf.diagnosis.past import LEARNED, TAIL_RATES, Judged, Past, RowPast, judge_and_learn, judge_network, rises
from monlat_ebpf.diagnosis.window import Health, Node, Row, Samples, Window
from tests.unit.diagnosis_windows import nodes, repeated, window

USUAL = 1e-3
BUCKET = 2 ** (1 / 8)
HOUR = 720  # windows of 5 s


def past_of(*, windows: int = 20, seconds: float = USUAL) -> RowPast:
    """Return the past of a row with one peer whose samples were all equal."""
    past = RowPast.new(array("I", [1]))
    for _ in range(windows):
        judge_and_learn(past, Samples.of([repeated(seconds, 15)]))
    return past


def judged(past: RowPast, *seconds: float) -> Judged:
    return judge_and_learn(past, Samples.of([bytes(sorted(bucket_of(round(each * 1e9)) for each in seconds))]))


@pytest.mark.parametrize(
    ("usual", "now", "is_slow"),
    [
        (1e-3, 1e-3, False),
        (1e-3, 1.2e-3, False),
        (1e-3, 1.9e-3, True),
        (1e-3, 10e-3, True),
        (20e-6, 40e-6, False),  # twice as long, and only 20 µs
        (20e-6, 100e-6, True),
        (1e-3, 1e-4, False),  # faster is never slow
    ],
)
def test_slow_is_half_as_long_again_and_50_microseconds(usual: float, now: float, is_slow: bool) -> None:
    """All 15 samples are above the limit, or none."""
    assert judged(past_of(seconds=usual), *[now] * 15).slow == [15 * is_slow]


def test_a_cell_with_a_short_past_is_not_judged() -> None:
    """Its samples are no trials: a new peer is neither slow nor usual."""
    assert judged(past_of(windows=LEARNED - 1), *[10 * USUAL] * 15).trials == [0]
    assert judged(past_of(windows=LEARNED), *[10 * USUAL] * 15).trials == [15]


def test_one_window_moves_the_usual_by_a_step_however_slow_it_is() -> None:
    """After an hour in which one window in ten took a second, 1 ms is usual still."""
    past = past_of()
    for number in range(HOUR):
        now = judged(past, *[1.0 if number % 10 == 0 else USUAL] * 15)
    usual, _ = rises(now, 0)
    assert usual == pytest.approx(USUAL, rel=BUCKET - 1)


def test_a_change_that_stays_becomes_usual_after_an_hour() -> None:
    """Twice as long is slow for an hour, and no longer so after another."""
    past = past_of()
    for _ in range(HOUR):
        now = judged(past, *[2 * USUAL] * 15)
    assert now.slow == [15]
    for _ in range(HOUR):
        now = judged(past, *[2 * USUAL] * 15)
    assert now.slow == [0]


def test_a_slow_drift_is_followed() -> None:
    """Twice as long within a day, step by step, is never slow."""
    past = past_of()
    assert all(judged(past, *[USUAL * 2 ** (hour / 24)] * 15).slow == [0] for hour in range(24) for _ in range(HOUR))


def test_samples_that_are_often_slow_are_expected_to_be() -> None:
    """If 3 of 15 samples are slow in every window, a fifth is by chance: the class above it."""
    past = past_of()
    for _ in range(HOUR):
        now = judged(past, *[3 * USUAL] * 3, *[USUAL] * 12)
    assert TAIL_RATES[now.usual[0]] == 0.24


def test_a_fault_does_not_become_expected() -> None:
    """Windows that are mostly slow do not teach how many slow samples are usual."""
    past = past_of()
    for _ in range(20):
        now = judged(past, *[3 * USUAL] * 15)
    assert TAIL_RATES[now.usual[0]] == TAIL_RATES[0]


def test_the_past_follows_nodes_by_name() -> None:
    """Nodes come and go and change their order: the past of a pair stays with it, and a new pair has none."""
    past = Past()
    past.follow(Window(nodes("abc"), [None] * 3))
    row = past.row("a", array("I", [1, 2]))
    for _ in range(LEARNED):
        judge_and_learn(row, Samples.of([repeated(1e-3, 15), repeated(5e-3, 15)]))  # to b, to c
    past.follow(Window((Node("c"), Node("d"), Node("a"), Node("b")), [None] * 4))
    moved = past.row("a", array("I", [0, 1, 3]))  # c, d, b
    now = judge_and_learn(moved, Samples.of([repeated(5e-3, 15)] * 3))
    assert now.slow == [0, 0, 15]
    assert now.trials == [15, 0, 15]


def test_a_node_that_is_gone_is_forgotten() -> None:
    """A million cells of nodes that were replaced must not stay in memory."""
    past = Past()
    past.follow(Window(nodes("abc"), [None] * 3))
    past.row("a", array("I", [1, 2]))
    past.row("b", array("I", [0, 2]))
    past.follow(Window(nodes("bc"), [None] * 2))
    assert list(past.rows) == ["b"]
    assert list(past.rows["b"].peers) == [1]


def test_a_peer_that_stops_reporting_is_not_slower_by_its_dwell() -> None:
    """The RTT holds the peer's dwell, the network RTT does not: one is never compared with the past of the other."""
    networks, rtts = Past(), Past()
    seen = window(nodes("ab"))
    networks.follow(seen)
    rtts.follow(seen)
    peers, rtt = array("I", [1]), Samples.of([repeated(3 * USUAL, 15)])
    for _ in range(LEARNED):
        judge_network(networks, rtts, "a", Row(peers, {}, rtt, Health(15), Samples.of([repeated(USUAL, 15)])))
    without = judge_network(networks, rtts, "a", Row(peers, {}, rtt, Health(15), Samples.of([b""])))
    assert (without.slow, without.trials) == ([0], [0])


def test_a_peer_that_never_reports_is_judged_by_its_rtt() -> None:
    """A row may have both kinds of peers."""
    networks, rtts = Past(), Past()
    seen = window(nodes("abc"))
    networks.follow(seen)
    rtts.follow(seen)
    peers = array("I", [1, 2])

    def judge(network: float, rtt: float) -> Judged:
        times = Samples.of([repeated(network, 15), b""])
        return judge_network(
            networks, rtts, "a", Row(peers, {}, Samples.of([repeated(rtt, 15)] * 2), Health(15), times)
        )

    for _ in range(LEARNED):
        judge(USUAL, 3 * USUAL)
    now = judge(2 * USUAL, 3 * USUAL)
    assert (now.slow, now.trials) == ([15, 0], [15, 15])
    now = judge(USUAL, 6 * USUAL)
    assert (now.slow, now.trials) == ([0, 15], [15, 15])
