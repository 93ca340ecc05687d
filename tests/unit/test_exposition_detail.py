"""How much of the pairs a scrape shows: which histograms, of which pairs, and the sums by zone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.exposition.detail import Details
from monlat_ebpf.exposition.sections import document
from monlat_ebpf.exposition.worst_pairs import FADING, MINUTE, STAYING
from monlat_ebpf.model import Detail, HistogramKind, PairReading, PairSnapshot, Result, Shown
from tests.unit import snapshots
from tests.unit.test_exposition_text import Samples, parsed, values_of

HISTOGRAMS = {"monlat_rtt_seconds", "monlat_network_rtt_seconds", "monlat_dwell_seconds"}
ZONES = {"monlat_zone_rtt_seconds", "monlat_zone_network_rtt_seconds", "monlat_zone_dwell_seconds"}
OF_EVERY_PAIR = ("monlat_probes_sent_total", "monlat_probe_results_total", "monlat_late_replies_total",
                 "monlat_duplicate_replies_total", "monlat_peer_info")  # fmt: skip


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Agent:
    """An exposition that is scraped with the pairs of a test, 1 s of timeout."""

    def __init__(self, shown: Shown) -> None:
        self.clock = Clock()
        self.exposition = snapshots.exposition(details=Details(shown, 1.0, self.clock))

    def scrape(self, pairs: Iterable[PairSnapshot]) -> Samples:
        return parsed(snapshots.render(self.exposition, snapshots.agent(list(pairs))))

    def scrape_readings(self, pairs: Sequence[PairReading]) -> Samples:
        return parsed(document(self.exposition.render(snapshots.agent([]), pairs)))


def histograms_in(samples: Samples, **labels: str) -> set[str]:
    """The histograms of pairs and zones that have samples with these labels."""
    return {name for name in HISTOGRAMS | ZONES if values_of(samples, f"{name}_count", **labels)}


def in_full(samples: Samples) -> set[str]:
    return {dict(labels)["to"] for name, labels in samples if name == "monlat_rtt_seconds_count"}


@pytest.mark.parametrize(
    ("kinds", "shown"),
    [
        ((), set()),
        ((HistogramKind.RTT,), {"monlat_rtt_seconds"}),
        ((HistogramKind.NETWORK, HistogramKind.DWELL), {"monlat_network_rtt_seconds", "monlat_dwell_seconds"}),
    ],
)
def test_only_chosen_histograms_are_shown(kinds: tuple[HistogramKind, ...], shown: set[str]) -> None:
    """Without a histogram, a pair keeps its gauges and counters."""
    samples = Agent(Shown(kinds)).scrape([snapshots.ANSWERING])
    assert histograms_in(samples) == shown
    assert values_of(samples, "monlat_clock_offset_seconds", to="node2") == [-0.0020005]


@pytest.mark.parametrize("detail", [Detail.ZONE, Detail.NONE])
def test_gauge_and_counters_are_of_every_pair(detail: Detail) -> None:
    """Whatever is left out, latency_between_nodes, the counters and monlat_peer_info have the series of full detail."""
    full = Agent(Shown()).scrape(snapshots.SMALL_CLUSTER.pairs)
    less = Agent(Shown(detail=detail)).scrape(snapshots.SMALL_CLUSTER.pairs)
    for name in ("latency_between_nodes", *OF_EVERY_PAIR):
        assert {key: value for key, value in less.items() if key[0] == name} == {
            key: value for key, value in full.items() if key[0] == name
        }
    for name in ("monlat_clock_offset_seconds", "monlat_queueing_seconds", "monlat_peer_device_info"):
        assert values_of(less, name) == []
    assert histograms_in(less) == (ZONES if detail is Detail.ZONE else set())


def test_families_that_are_not_shown_have_no_header() -> None:
    """With all detail, no zone's families are named; without, no pair's histograms."""
    full = snapshots.render(snapshots.exposition(), snapshots.SMALL_CLUSTER)
    assert b"monlat_zone_" not in full
    none = Agent(Shown(detail=Detail.NONE)).exposition
    assert b"monlat_rtt_seconds" not in snapshots.render(none, snapshots.SMALL_CLUSTER)


def test_zone_has_the_sum_of_its_pairs() -> None:
    """Two peers in zone b, one in c: by family and zone, each classic bucket is the sum of the pairs'."""
    other = replace(snapshots.ANSWERING, to="node5", rtt=snapshots.histogram({49: 2, 100: 1}, 500))
    far = replace(snapshots.ANSWERING, to="node6", to_zone="c")
    samples = Agent(Shown(detail=Detail.ZONE)).scrape([snapshots.ANSWERING, other, far])
    zone_b = {"from": "node1", "from_zone": "a", "to_zone": "b", "family": "ipv4"}
    name = "monlat_zone_rtt_seconds"
    assert values_of(samples, f"{name}_count", **zone_b) == [6]
    assert values_of(samples, f"{name}_sum", **zone_b) == [0.0010005]
    assert values_of(samples, f"{name}_bucket", le="0.0001220703125", **zone_b) == [3]  # bucket 56: thrice bucket 49
    assert values_of(samples, f"{name}_count", to_zone="c") == [3]
    assert values_of(samples, "monlat_zone_dwell_seconds_count", **zone_b) == [4]


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from(["grow", "leave", "return", "move", "give up"]), st.integers(0, 9)
        ),
        max_size=30,
    )
)
def test_zone_totals_count_every_sample_once(steps: list[tuple[int, str, int]]) -> None:
    """Peers grow, leave, come back at zero, and move to another zone; scrapes are given up half-way.

    After each scrape a zone has the samples that were new in its peers at this scrape and all before, and never fewer.
    """
    agent = Agent(Shown((HistogramKind.RTT,), Detail.ZONE))
    counts, zones, created, present = [0] * 3, ["a", "a", "b"], [1] * 3, [True] * 3
    unseen, expected = [0] * 3, {"a": 0, "b": 0}

    def readings() -> list[PairReading]:
        pairs = []
        for n in range(3):
            if present[n]:
                pair = replace(
                    snapshots.new_pair(f"peer{n}", "10.0.0.9", to_zone=zones[n]),
                    rtt=snapshots.histogram({40 + n: counts[n]}, counts[n]),
                )
                pairs.append(snapshots.reading(pair)._replace(created_unix_seconds=created[n]))
        return pairs

    for n, step, amount in steps:
        if step == "leave":
            present[n], unseen[n] = False, 0
        elif step == "return" and not present[n]:
            present[n], counts[n], created[n] = True, 0, created[n] + 1
        elif step == "move":
            zones[n] = "b" if zones[n] == "a" else "a"
        if present[n]:
            counts[n] += amount
            unseen[n] += amount
        pieces = agent.exposition.render(snapshots.agent([]), readings())
        for each in range(3):
            if present[each]:
                expected[zones[each]] += unseen[each]
                unseen[each] = 0
        if step == "give up":
            next(pieces)  # the first batch has all pairs
            continue
        samples = parsed(document(pieces))
        for zone, count in expected.items():
            assert (values_of(samples, "monlat_zone_rtt_seconds_count", to_zone=zone) or [0]) == [count]


def test_peer_that_is_back_within_a_second_counts_from_zero() -> None:
    """With the same time since when it counts: its one new sample is added to the three before."""
    agent = Agent(Shown((HistogramKind.RTT,), Detail.ZONE))
    assert values_of(agent.scrape([snapshots.ANSWERING]), "monlat_zone_rtt_seconds_count", to_zone="b") == [3]
    again = replace(snapshots.ANSWERING, rtt=snapshots.histogram({49: 1}, 64_000))
    for _ in range(2):
        assert values_of(agent.scrape([again]), "monlat_zone_rtt_seconds_count", to_zone="b") == [4]


def pair_with(to: str, replies: int, lost: int, rtt_ns: int, least_ns: int) -> PairSnapshot:
    """A pair whose replies all took `rtt_ns`, in its bucket 60."""
    return replace(
        snapshots.new_pair(to, "10.0.0.9"),
        sent=replies + lost,
        results={Result.REPLY: replies, Result.LOST_NETWORK: lost},
        min_rtt_ns=least_ns,
        rtt=snapshots.histogram({60: replies}, replies * rtt_ns),
    )


def test_worst_pairs_are_those_that_lost_most_time() -> None:
    """1 of 100 lost is 10 ms a probe at a timeout of 1 s; 4 ms above the least RTT is less; a far peer lost nothing."""
    agent = Agent(Shown(detail=Detail.NONE, worst=2))
    pairs = [
        pair_with("far", 100, 0, 200_000_000, 200_000_000),
        pair_with("fine", 100, 0, 110_000, 100_000),
        pair_with("lossy", 99, 1, 100_000, 100_000),
        pair_with("slow", 100, 0, 4_100_000, 100_000),
    ]
    assert in_full(agent.scrape(pairs)) == set()  # the first scrape ranks, the next one shows
    samples = agent.scrape(pairs)
    assert in_full(samples) == {"lossy", "slow"}
    assert histograms_in(samples, to="fine") == set()
    assert values_of(samples, "monlat_probes_sent_total", to="fine") == [100]


def test_pair_that_is_well_again_fades() -> None:
    """A pair that lost 1 of 2 probes is shown while half of its score a minute is half of what 2 % of losses are.

    Half, because it is shown already: 0.5 s, 0.25 s and so on, against 0.02 s.
    """
    agent = Agent(Shown(detail=Detail.NONE, worst=1))
    minutes = 0
    for minute in range(10):
        once = pair_with("once", 1 + 100 * minute, 1, 100_000, 100_000)
        always = pair_with("always", 98 * (minute + 1), 2 * (minute + 1), 100_000, 100_000)
        agent.scrape([always, once])
        minutes += in_full(agent.scrape([always, once])) == {"once"}
        agent.clock.now += MINUTE
    faded = accumulate(range(9), lambda score, _: score * FADING, initial=0.5)
    assert minutes == sum(score * STAYING > 0.02 for score in faded) == 6


def test_equally_bad_pairs_do_not_take_turns() -> None:
    """Which of two pairs is a little worse changes each minute; the one that is shown stays."""
    agent = Agent(Shown(detail=Detail.NONE, worst=1))
    lost = {"a": 11, "b": 10}
    for minute in range(7):
        pairs = [pair_with(name, 100 * (minute + 1), count, 100_000, 100_000) for name, count in lost.items()]
        agent.scrape(pairs)
        assert in_full(agent.scrape(pairs)) == {"a"}
        lost = {"a": lost["a"] + 10 + minute % 2, "b": lost["b"] + 11 - minute % 2}
        agent.clock.now += MINUTE


def test_ranking_holds_for_a_minute() -> None:
    """Series do not come and go with every scrape: within a minute the same pairs are shown."""
    agent = Agent(Shown(detail=Detail.NONE, worst=1))
    first = [pair_with("a", 99, 1, 100_000, 100_000), pair_with("b", 100, 0, 100_000, 100_000)]
    agent.scrape(first)
    later = [first[0], pair_with("b", 100, 100, 100_000, 100_000)]
    agent.clock.now += MINUTE - 1
    assert in_full(agent.scrape(later)) == {"a"}
    agent.clock.now += 1
    agent.scrape(later)
    assert in_full(agent.scrape(later)) == {"b"}


def test_worst_pair_that_left_is_not_shown() -> None:
    """A peer that left the list is gone from the next scrape, and forgotten by the next ranking."""
    agent = Agent(Shown(detail=Detail.NONE, worst=2))
    pairs = [pair_with("a", 99, 1, 100_000, 100_000), pair_with("b", 99, 1, 100_000, 100_000)]
    agent.scrape(pairs)
    assert in_full(agent.scrape(pairs)) == {"a", "b"}
    assert in_full(agent.scrape(pairs[1:])) == {"b"}
