"""What an agent counted between two answers: of its health, and within what can be true."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from monlat_ebpf.collector.fetch import AskError, Failure
from monlat_ebpf.collector.growth import MOST_DUE, growth
from tests.unit.collector_counts import counted, counts

MOST = 1000


@pytest.mark.parametrize("bad", [{71: MOST + 1}, dict.fromkeys(range(185), 6)])
def test_more_samples_than_probes_can_be_sent_are_refused(bad: Mapping[int, int]) -> None:
    """Nobody's memory is filled with them; the counters are in their range."""
    buckets = {"rtt": [], "network_rtt": [], "dwell": [number for each in bad.items() for number in each]}
    with pytest.raises(AskError) as caught:
        growth(counts(counted("node2", {})), counts(counted("node2", {}, buckets=buckets)), MOST)
    assert caught.value.failure is Failure.INVALID
    with pytest.raises(AskError):
        growth(counts(counted("node2", {})), counts(counted("node2", {}, lost=MOST + 1)), MOST)


def test_health_is_what_the_agent_counts_of_itself() -> None:
    """7 probes were sent, two of them more than an eighth of a second late, and 3 skipped."""
    before = counts(skipped_probes=2, schedule_lag_buckets=[60, 10])
    health = growth(before, counts(skipped_probes=5, schedule_lag_buckets=[60, 15, 137, 2]), MOST).health
    assert (health.sent, health.skipped) == (7, 3)
    assert health.lag is not None
    assert (health.lag.buckets[60], health.lag.buckets[137], health.lag.count) == (5, 2, 7)


def test_probes_missed_long_before_say_nothing_of_the_window() -> None:
    """And an agent without a histogram of its lag is judged by what it skipped."""
    before = counts(counted("node2", {71: 1}))
    now = counts(counted("node2", {71: 5}), skipped_probes=MOST_DUE + 1)
    assert growth(before, now, MOST).health.skipped == 0
    old = {"created_unix_seconds": 1, "schedule_lag_buckets": []}
    found = growth(before, counts(counted("node2", {71: 5}), skipped_probes=4, **old), MOST).health
    assert (found.sent, found.skipped) == (0, 4)
