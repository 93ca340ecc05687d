"""What the collector reads of an agent's counts, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from monlat_ebpf.collector.counts import COUNTERS
from monlat_ebpf.collector.fetch import AskError, Failure
from monlat_ebpf.model import HistogramKind
from tests.unit.collector_counts import counted, counts, document, parsed
from tests.unit.fake_agent import answer, pair


def test_counts_of_each_pair_follow_each_other() -> None:
    """node2 has samples in buckets 71 and 73, node3 none; of each there are 8 counters, probes sent first."""
    found = counts(counted("node2", {71: 3, 73: 1}, lost=2), counted("node3", {}))
    assert found.pairs == (("node2", "ipv4"), ("node3", "ipv4"))
    assert list(found.counters) == [6, 4, 0, 2, 0, 0, 0, 0] + [0] * COUNTERS
    rtt = found.histograms[HistogramKind.RTT]
    assert (list(rtt.numbers), list(rtt.counts), list(rtt.ends)) == ([71, 73], [3, 1], [2, 2])
    assert found.created == 1_700_000_000


def test_agent_of_an_older_version_has_results_alone() -> None:
    """Its losses count; its times are not known."""
    found = parsed(answer(pair("node2")))
    assert found.counters[0] == 23
    assert found.histograms == {}
    assert (found.created, found.lag) == (None, None)


def test_source_that_cannot_see_a_time_has_none_of_that_kind() -> None:
    """With socket time stamps, an agent cannot see the requests of its peers."""
    buckets = {"rtt": [71, 1], "network_rtt": None, "dwell": None}
    assert set(counts(counted("node2", {71: 1}, buckets=buckets)).histograms) == {HistogramKind.RTT}


def test_pairs_that_are_no_node_have_no_counts() -> None:
    """Targets and unknown nodes are left out before their counts are looked at."""
    target, unknown = pair("router", kind="target"), pair("node9")
    assert counts(counted("node2", {}), target, unknown).pairs == (("node2", "ipv4"),)


@pytest.mark.parametrize(
    ("buckets", "reason"),
    [
        ([71], "rtt is not a list of buckets"),
        ({"71": 3}, "rtt is not a list of buckets"),
        ([1] * 374, "rtt is not a list of buckets"),
        ([73, 1, 71, 1], "rtt has buckets out of order"),
        ([71, 1, 71, 1], "rtt has buckets out of order"),
        ([186, 1], "rtt has buckets out of order"),
        ([256, 1], "rtt has bytes must be in range"),
        ([-1, 1], "rtt has bytes must be in range"),
        ([71, -1], "rtt has can't convert negative value"),
        ([71, 1 << 32], "rtt has unsigned int is greater"),
        ([71, 1 << 200], "rtt has"),
        ([71, 1.5], "rtt has"),
        ([71, "1"], "rtt has"),
        ([[71], 1], "rtt has"),
    ],
)
def test_bad_bucket_is_refused_with_its_reason(buckets: Any, reason: str) -> None:
    """The answer is not used at all."""
    bad = {"rtt": buckets, "network_rtt": None, "dwell": None}
    with pytest.raises(AskError, match=reason) as caught:
        counts(counted("node2", {71: 1}, buckets=bad))
    assert caught.value.failure is Failure.INVALID


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"buckets": None}, "a pair lacks buckets.rtt"),
        ({"buckets": {"rtt": []}}, "a pair lacks buckets.network_rtt"),
        ({"family": "ipx"}, "family is 'ipx'"),
        ({"family": ["ipv4"]}, "family is "),
        ({"sent": -1}, "sent is '-1'"),
    ],
)
def test_bad_pair_is_refused_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    """As is an answer without what such an answer has."""
    with pytest.raises(AskError, match=reason):
        counts(counted("node2", {71: 1}, **changes))


def test_bad_counts_of_the_agent_are_refused() -> None:
    """A pair twice, a lag that is no histogram, a time that is no number."""
    for bad in (
        document(counted("node2", {}), counted("node2", {})),
        document(schedule_lag_buckets=[1]),
        document(created_unix_seconds=None),
        document(skipped_probes=-1),
    ):
        with pytest.raises(AskError) as caught:
            parsed(bad)
        assert caught.value.failure is Failure.INVALID
