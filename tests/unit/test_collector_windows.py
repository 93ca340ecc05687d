"""Windows from successive answers: nothing is lost, nothing is made up, and what is new does not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.collector.counts import AgentCounts
from monlat_ebpf.collector.fetch import Failure
from monlat_ebpf.collector.growth import growth
from monlat_ebpf.collector.slots import Slots
from monlat_ebpf.collector.windows import MOST_OF_AGENT, MOST_PAIRS, NEW_SECONDS, Windows
from monlat_ebpf.diagnosis.window import Node, Row, Samples, Window
from monlat_ebpf.model import HistogramKind, Result
from tests.unit.collector_counts import counted, counts

INTERVAL = 5.0
SLOTS = Slots(INTERVAL)
NODES = (Node("node3", "a"), Node("node1", "b"), Node("node2", "b"))
FIRST = 100  # a slot long after the clock's begin
MOST = 1000


def asked_at(name: str, slot: int, late: float = 0.0) -> float:
    return slot * INTERVAL + SLOTS.moment(name) + late + 1e-6


def windows_of(*names: str) -> Windows:
    made = Windows(SLOTS)
    made.follow(names, FIRST * INTERVAL)
    return made


def closed(windows: Windows, slot: int, nodes: Sequence[Node] = NODES) -> Window:
    window = windows.close(slot, nodes, (slot + 1) * INTERVAL)
    assert window is not None
    return window


def row_of(window: Window, name: str) -> Row:
    row = window.rows[[node.name for node in window.nodes].index(name)]
    assert row is not None
    return row


def peers(window: Window, name: str) -> list[str]:
    return [window.nodes[peer].name for peer in row_of(window, name).peers]


def rtts(windows: Windows, slot: int) -> dict[str, list[int]]:
    """The RTTs in node1's row by peer, when the window is closed; none if nothing is known of the window."""
    window = windows.close(slot, NODES, (slot + 1) * INTERVAL)
    return {} if window is None else dict(zip(peers(window, "node1"), cells(row_of(window, "node1").rtt), strict=True))


def cells(samples: Samples | None) -> list[list[int]]:
    assert samples is not None
    starts = [0, *samples.ends]
    return [list(samples.buckets[start:end]) for start, end in zip(starts, samples.ends, strict=False)]


def answer_each(windows: Windows, answers: Sequence[AgentCounts | None], first: int = FIRST) -> None:
    """Let node1 answer in one slot after the other; None: it fails."""
    for slot, each in enumerate(answers, start=first):
        if each is None:
            windows.failed("node1", asked_at("node1", slot), Failure.TIMEOUT)
        else:
            windows.answered("node1", asked_at("node1", slot), each)


histograms = st.dictionaries(st.integers(0, 185), st.integers(0, 9), max_size=5)


@given(st.lists(st.tuples(histograms, st.integers(0, 5)), min_size=3, max_size=8))
def test_sum_of_the_windows_is_the_difference_of_the_counts(steps: list[tuple[dict[int, int], int]]) -> None:
    """From the second answer on, as what is between the first two is new; the counts are sums made here."""
    totals = list(accumulate((Counter(histogram) for histogram, _ in steps)))
    lost = list(accumulate(number for _, number in steps))
    windows = windows_of("node1", "node2")
    answers = [counts(counted("node2", +total, number)) for total, number in zip(totals, lost, strict=True)]
    seen: Counter[int] = Counter()
    losses = replies = sent = 0
    answer_each(windows, answers[:2])
    assert rtts(windows, FIRST + 1) == {}
    for slot, each in enumerate(answers[2:], start=FIRST + 2):
        windows.answered("node1", asked_at("node1", slot), each)
        row = row_of(closed(windows, slot), "node1")
        assert cells(row.rtt) == cells(row.network_rtt)
        seen.update(cells(row.rtt)[0])
        losses += sum(row.results.get(Result.LOST_FORWARD, ()))
        replies += sum(row.results.get(Result.REPLY, ()))
        sent += sum(row.sent or ())
    assert seen == totals[-1] - totals[1]
    assert losses == lost[-1] - lost[1]
    assert replies == totals[-1].total() - totals[1].total()
    assert sent == losses + replies


@given(histograms, histograms, histograms)
def test_address_families_of_a_node_are_one_cell(
    ipv4: dict[int, int], ipv6: dict[int, int], more: dict[int, int]
) -> None:
    """Its samples are those of both, in ascending order, and its counters are sums."""
    one, other = Counter(ipv4), Counter(ipv6)
    before = counts(counted("node2", +one), counted("node2", +other, family="ipv6"))
    now = counts(counted("node2", +(one + Counter(more))), counted("node2", +(other + one), 3, family="ipv6"))
    found = growth(before, now, MOST)
    expected = sorted((Counter(more) + one).elements())
    assert (found.to, list(found.samples[HistogramKind.RTT][0])) == (["node2"], expected)
    assert found.counters[0][0] == len(expected) + 3


def test_new_pair_counts_from_its_second_row_on() -> None:
    """node3 is in the answers from the third one on. Its first probes are lost: an address is not resolved yet."""
    windows = windows_of("node1", "node2", "node3")
    node2 = [counted("node2", {71: number}) for number in range(6)]
    node3 = [counted("node3", {80: number}, lost=2 if number else 0) for number in range(4)]
    found = []
    for slot, pairs in enumerate([node2[:1], node2[1:2], *zip(node2[2:], node3, strict=True)], start=FIRST):
        windows.answered("node1", asked_at("node1", slot), counts(*pairs))
        window = windows.close(slot, NODES, (slot + 1) * INTERVAL)
        found.append([] if window is None else peers(window, "node1"))
        assert window is None or Result.LOST_FORWARD not in row_of(window, "node1").results
    assert found == [[], [], ["node2"], ["node2"], ["node3", "node2"], ["node3", "node2"]]


def test_agent_that_started_again_has_an_empty_row_and_new_pairs() -> None:
    """By the time at which it began to count, though no count is below that before."""
    windows = windows_of("node1", "node2")
    again = {"created_unix_seconds": 1_700_000_500}
    answers = [counts(counted("node2", {71: number})) for number in (1, 2, 3)]
    answers += [counts(counted("node2", {71: number}), **again) for number in (9, 10, 11)]
    found = []
    for slot, answer in enumerate(answers, start=FIRST):
        windows.answered("node1", asked_at("node1", slot), answer)
        found.append(rtts(windows, slot))
    assert found == [{}, {}, {"node2": [71]}, {}, {}, {"node2": [71]}]


@pytest.mark.parametrize(
    "fallen",
    [
        counted("node2", {71: 1, 73: 9}),
        counted("node2", {71: 9}),
        counted("node2", {71: 9, 73: 9}, sent=1),
        counted("node2", {71: 9, 73: 9}, buckets={"rtt": [71, 9, 73, 9], "network_rtt": [71, 9, 73, 9], "dwell": []}),
    ],
)
def test_pair_whose_counts_fell_is_left_out_and_new(fallen: dict[str, Any]) -> None:
    """It was made anew between the answers; the other pair of the agent is not concerned."""
    buckets = {"rtt": [71, 5, 73, 5], "network_rtt": [71, 5, 73, 5], "dwell": [40, 1]}
    found = growth(
        counts(counted("node2", {71: 5, 73: 5}, buckets=buckets), counted("node3", {71: 1})),
        counts(fallen, counted("node3", {71: 3})),
        MOST,
    )
    assert found.to == ["node3"]
    assert found.samples[HistogramKind.RTT] == [bytes([71, 71])]


def test_row_after_a_missing_answer_is_empty_and_nothing_is_counted_twice() -> None:
    """The answer after the gap is of two windows. It only is the base of the next."""
    windows = windows_of("node1", "node2")
    answers = [counts(counted("node2", {71: number})) for number in range(7)]
    answer_each(windows, [*answers[:4], None, *answers[5:]])
    assert rtts(windows, FIRST + 3) == {"node2": [71]}
    assert [row is None for row in closed(windows, FIRST + 4).rows] == [False, True, False]  # the others are new
    assert rtts(windows, FIRST + 5) == {}
    assert rtts(windows, FIRST + 6) == {"node2": [71]}


def test_answer_to_a_question_of_the_same_slot_counts_for_it() -> None:
    """The agent failed first, and answered when it was asked again two seconds later."""
    windows = windows_of("node1", "node2")
    answer_each(windows, [counts(counted("node2", {71: number})) for number in range(3)])
    windows.failed("node1", asked_at("node1", FIRST + 3), Failure.TIMEOUT)
    windows.answered("node1", asked_at("node1", FIRST + 3, late=2.0), counts(counted("node2", {71: 4})))
    assert rtts(windows, FIRST + 3) == {"node2": [71, 71]}


def test_answer_after_its_window_closed_is_the_base_of_the_next() -> None:
    """The row of the closed window was empty: the question had not ended."""
    windows = windows_of("node1", "node2")
    answer_each(windows, [counts(counted("node2", {71: number})) for number in range(3)])
    assert rtts(windows, FIRST + 3) == {}
    answer_each(windows, [counts(counted("node2", {71: number})) for number in (5, 9)], FIRST + 3)
    assert rtts(windows, FIRST + 4) == {"node2": [71] * 4}


def test_peers_in_another_order_are_the_same_peers() -> None:
    """The order of the nodes decides: by zone."""
    windows = windows_of("node1", "node2", "node3")
    first = [counted("node2", {71: 1}), counted("node3", {80: 1})]
    then = [counted("node3", {80: 3}), counted("node2", {71: 2})]
    answer_each(windows, [counts(*first), counts(*first), counts(*then)])
    assert list(rtts(windows, FIRST + 2).items()) == [("node3", [80, 80]), ("node2", [71])]


def test_node_that_left_the_list_is_in_no_row() -> None:
    """Its agent's pairs, and the pairs of others to it."""
    windows = windows_of("node1", "node2", "node3")
    answer_each(windows, [counts(counted("node2", {71: n}), counted("node3", {71: n})) for n in range(3)])
    windows.follow(["node1", "node2"], 0.0)
    window = closed(windows, FIRST + 2, NODES[1:])
    assert peers(window, "node1") == ["node2"]


def test_agent_that_never_answered_is_not_missing_until_it_had_time_to_start() -> None:
    """One that has answered is missing at once."""
    windows = windows_of("node1", "node2", "node3")
    answer_each(windows, [counts(counted("node2", {71: n})) for n in range(3)])
    for name in ("node2", "node3"):
        windows.failed(name, asked_at(name, FIRST + 3), Failure.UNREACHABLE)
    assert all(row is not None for row in closed(windows, FIRST + 2).rows)
    windows.failed("node1", asked_at("node1", FIRST + 3), Failure.UNREACHABLE)
    assert [row is None for row in closed(windows, FIRST + 3).rows] == [False, True, False]
    for name in ("node2", "node3"):
        windows.failed(name, asked_at(name, FIRST + 4), Failure.UNREACHABLE)
    late = windows.close(FIRST + 4, NODES, FIRST * INTERVAL + NEW_SECONDS)
    assert late is not None
    assert [row is None for row in late.rows] == [True, False, True]  # node1 has not been asked yet


@pytest.mark.parametrize(("answered", "next_rtts"), [(104, {"node2": [71, 71]}), (105, {})])
def test_longer_windows_need_fewer_answers(answered: int, next_rtts: dict[str, list[int]]) -> None:
    """Of two slots each. An answer in slot 104 is within a window, so it is no base for one that ends with 105."""
    windows = windows_of("node1", "node2")
    answer_each(windows, [counts(counted("node2", {71: slot})) for slot in range(100, answered)])
    windows.lengthen()
    assert windows.seconds == 2 * INTERVAL
    ends = [windows.ends_window("node1", asked_at("node1", slot)) for slot in range(104, 108)]
    assert ends == [False, True, False, True]
    answer_each(windows, [counts(counted("node2", {71: slot})) for slot in range(answered, 108)], answered)
    assert rtts(windows, 105) == next_rtts
    assert rtts(windows, 107) == {"node2": [71, 71]}


def test_next_window_is_the_open_one_or_the_newest_that_has_ended() -> None:
    """With two slots of 5 s each, slots 101, 103 and 105 are the last of their windows."""
    windows = windows_of("node1")
    windows.lengthen()
    assert windows.next_end(100 * INTERVAL) == 101
    assert windows.next_end(102 * INTERVAL - 0.1) == 101
    assert windows.next_end(102 * INTERVAL) == 103
    assert windows.next_end(102 * INTERVAL, after=101) == 103
    assert windows.next_end(105 * INTERVAL, after=101) == 103
    assert windows.next_end(106 * INTERVAL, after=101) == 105  # 103 has ended, too, and is skipped
    assert windows.next_end(100 * INTERVAL, after=101) == 103


def test_window_is_complete_when_every_agent_has_answered_or_failed() -> None:
    """The time that the others have to answer is not waited for."""
    windows = windows_of("node1", "node2")
    answer_each(windows, [counts(counted("node2", {}))])
    assert not windows.is_complete(FIRST)
    windows.failed("node2", asked_at("node2", FIRST), Failure.UNREACHABLE)
    assert windows.is_complete(FIRST)
    assert not windows.is_complete(FIRST + 1)


def test_histograms_are_asked_for_when_there_is_room() -> None:
    """Not the first time, and not again from an agent whose answer was too long."""
    windows = windows_of("node1", "node2")
    assert not windows.wants_histograms("node1")
    answer_each(windows, [counts(counted("node2", {}))])
    assert windows.wants_histograms("node1")
    windows.failed("node1", asked_at("node1", FIRST + 1), Failure.TIMEOUT)
    assert windows.wants_histograms("node1")
    windows.failed("node1", asked_at("node1", FIRST + 2), Failure.TOO_LONG)
    assert not windows.wants_histograms("node1")


@pytest.mark.parametrize(
    ("agents", "pairs", "wanted"),
    [
        (1, MOST_OF_AGENT, True),
        (1, MOST_OF_AGENT + 1, False),
        (40, MOST_OF_AGENT, True),
        (41, MOST_OF_AGENT, False),
    ],
)
def test_number_of_pairs_limits_the_histograms(agents: int, pairs: int, *, wanted: bool) -> None:
    """40 agents of 2,500 pairs have 100,000."""
    assert 40 * MOST_OF_AGENT == MOST_PAIRS
    of_many = AgentCounts(tuple((f"peer{number}", "ipv4") for number in range(pairs)), (), {}, 0, None, None)
    names = [f"agent{number}" for number in range(agents)]
    windows = windows_of(*names)
    for name in names:
        windows.answered(name, asked_at(name, FIRST), of_many)
    assert windows.wants_histograms("agent0") is wanted
