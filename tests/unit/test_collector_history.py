"""The collector's memory of a pair's past: exact to a tenth of a percent, and never larger than its share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monlat_ebpf.collector.history import HISTORY_SECONDS, Point, RowHistory, decode_rtt, encode

START = 1_800_000_000
TO = ("node2", "node3", "node4")


def recorded(history: RowHistory, count: int, pause: int = 5, to: tuple[str, ...] = TO) -> None:
    """Record `count` frames; pair k of frame i has an RTT of i + 1 milliseconds times k + 1."""
    for number in range(count):
        rtts = [(number + 1) * (position + 1) / 1000 for position in range(len(to))]
        history.record(START + number * pause, to, rtts, [False] * len(to))


def times(history: RowHistory, to: str) -> Sequence[int]:
    return [point.unix_seconds - START for point in history.points(to)]


@given(st.floats(1e-6, 100.0), st.booleans())
def test_rtt_is_kept_to_a_thousandth(rtt: float, is_lost: bool) -> None:
    """8 decades in 32,766 steps: a step is 0.056 %, an error half of that."""
    code = encode(rtt, is_lost)
    assert 0 <= code < 1 << 16
    found = decode_rtt(code)
    assert found == pytest.approx(rtt, rel=0.0003)
    assert code & 1 == is_lost


@pytest.mark.parametrize(("rtt", "kept"), [(0.0, 1e-6), (1e-9, 1e-6), (1e6, 100.0)])
def test_rtt_beyond_the_limits_is_the_limit(rtt: float, kept: float) -> None:
    """One microsecond and 100 seconds."""
    assert decode_rtt(encode(rtt, is_lost=False)) == pytest.approx(kept)


def test_loss_is_no_number() -> None:
    """A pair without an RTT has a point only if it lost a probe."""
    history = RowHistory(1000)
    history.record(START, TO, [math.nan, math.nan, 0.001], [True, False, True])
    assert list(history.points("node2")) == [Point(START, None, True)]
    assert list(history.points("node3")) == []
    (point,) = history.points("node4")
    assert point.is_lost
    assert point.rtt_seconds == pytest.approx(0.001, rel=0.0003)


def test_full_history_keeps_its_span_at_half_the_resolution() -> None:
    """Names: 3 x 8 bytes. A frame: 4 + 3 x 2. 124 bytes hold 10 frames; the 11th thins them to every second one."""
    history = RowHistory(124)
    recorded(history, 10)
    assert times(history, "node2") == list(range(0, 50, 5))
    history.record(START + 50, TO, [0.011, 0.022, 0.033], [False] * 3)
    assert times(history, "node2") == [5, 15, 25, 35, 45, 50]
    rtts = [point.rtt_seconds for point in history.points("node3")]
    assert rtts == pytest.approx([0.004, 0.008, 0.012, 0.016, 0.020, 0.022], rel=0.0003)


def test_thinned_history_takes_later_frames_as_far_apart() -> None:
    """After the thinning, frames come every 10 s. A loss in between is not lost: the frame before it has it."""
    history = RowHistory(124)
    recorded(history, 11)
    history.record(START + 55, TO, [0.001] * 3, [False, True, False])
    history.record(START + 60, TO, [0.001] * 3, [False] * 3)
    assert times(history, "node2")[-2:] == [50, 60]
    assert [point.is_lost for point in history.points("node3")][-2:] == [True, False]
    assert [point.is_lost for point in history.points("node2")][-2:] == [False, False]


def test_loss_of_a_frame_that_goes_is_in_the_next_one() -> None:
    """Frame 0 of node3 had a loss; after thinning, the frame at 5 s says so."""
    history = RowHistory(124)
    history.record(START, TO, [0.001] * 3, [False, True, False])
    for number in range(1, 11):
        history.record(START + 5 * number, TO, [0.001] * 3, [False] * 3)
    assert times(history, "node3")[0] == 5
    assert [point.is_lost for point in history.points("node3")] == [True, False, False, False, False, False]


def test_frames_older_than_the_limit_go() -> None:
    """Six hours, even if there is room."""
    history = RowHistory(10_000)
    recorded(history, 2)
    history.record(START + int(HISTORY_SECONDS) + 3, TO, [0.001] * 3, [False] * 3)
    assert times(history, "node2") == [5, int(HISTORY_SECONDS) + 3]


def test_pair_keeps_its_past_when_other_nodes_come_and_go() -> None:
    """Its points before and after the change, in order."""
    history = RowHistory(10_000)
    history.record(START, TO, [0.001, 0.002, 0.003], [False] * 3)
    history.record(START + 5, ("node4", "node5"), [0.004, 0.005], [False] * 2)
    assert [point.rtt_seconds for point in history.points("node4")] == pytest.approx([0.003, 0.004], rel=0.0003)
    assert times(history, "node3") == [0]
    assert times(history, "node5") == [5]


def test_typical_rtt_is_the_median_of_twelve_points_or_more() -> None:
    """Of 1 to 13 ms: 7 ms. Eleven points are no past yet."""
    history = RowHistory(10_000)
    recorded(history, 11)
    assert math.isnan(history.typical_rtt("node2"))
    history = RowHistory(10_000)
    recorded(history, 13)
    assert history.typical_rtt("node2") == pytest.approx(0.007, rel=0.0003)
    assert history.typical_rtt("node3") == pytest.approx(0.014, rel=0.0003)
    assert math.isnan(history.typical_rtt("node9"))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(100, 2000),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 12)), min_size=1, max_size=150),
)
def test_history_never_exceeds_its_share(share: int, calls: list[tuple[int, int]]) -> None:
    """Whatever the pauses and the number of pairs; and the newest frame is there, or one at most a pause older."""
    history = RowHistory(share)
    now = START
    for pause, width in calls:
        now += pause
        history.record(now, tuple(f"node{number}" for number in range(width)), [0.001] * width, [False] * width)
        assert history.size <= share
        found = [point.unix_seconds for point in history.points("node0")]
        assert found == sorted(found)


@pytest.mark.parametrize(
    ("nodes", "pairs", "points", "pause"), [(100, 99, 2160, 10), (1000, 32, 540, 40), (1000, 999, 17, 1280)]
)
def test_points_in_six_hours_are_those_that_the_documentation_promises(
    nodes: int, pairs: int, points: int, pause: int
) -> None:
    """docs/collector.md, Memory: 64 MiB for all nodes, one answer each 5 s for seven hours."""
    history = RowHistory((64 << 20) // nodes)
    to = tuple(f"node{number}" for number in range(pairs))
    rtts, losses = [0.001] * pairs, [False] * pairs
    for second in range(0, 7 * 3600, 5):
        history.record(START + second, to, rtts, losses)
    found = times(history, "node0")
    assert abs(len(found) - points) <= 1
    gaps = Counter(later - earlier for earlier, later in pairwise(found))
    assert max(gaps) == pause
    assert gaps[pause] >= len(found) - 2  # the newest point may be nearer
