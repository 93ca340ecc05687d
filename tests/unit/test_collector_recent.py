"""The RTTs of the last minutes of a pair."""

from __future__ import annotations

from monlat_ebpf.collector.recent import WINDOW_SECONDS, RecentCounts
from tests.unit.collector_counts import counted, counts, parsed
from tests.unit.fake_agent import answer, pair


def shown(recent: RecentCounts) -> tuple[dict[int, int], float] | None:
    found = recent.rtts("node2")
    return None if found is None else (dict(found.counts), found.seconds)


def test_rtts_are_those_since_the_first_answer() -> None:
    """Over both address families."""
    recent = RecentCounts()
    recent.update(10.0, counts(counted("node2", {71: 4}), counted("node2", {73: 1}, family="ipv6")))
    assert shown(recent) is None
    recent.update(15.0, counts(counted("node2", {71: 6, 80: 1}), counted("node2", {71: 1, 73: 1}, family="ipv6")))
    assert shown(recent) == ({71: 3, 80: 1}, 5.0)


def test_rtts_of_more_than_two_windows_ago_are_forgotten() -> None:
    """One reply a second, asked for every second: between one and two windows are shown."""
    recent = RecentCounts()
    recent.update(0.0, counts(counted("node2", {})))
    for second in range(1, int(5 * WINDOW_SECONDS)):
        recent.update(second, counts(counted("node2", {71: second})))
        found = recent.rtts("node2")
        assert found is not None
        assert found.counts[71] == found.seconds <= 2 * WINDOW_SECONDS
        assert found.seconds >= min(second, WINDOW_SECONDS)


def test_what_counts_anew_has_all_its_rtts() -> None:
    """A pair whose counts fell, and one that was not there before."""
    recent = RecentCounts()
    recent.update(10.0, counts(counted("node2", {71: 9})))
    recent.update(15.0, counts(counted("node2", {71: 2}), counted("node3", {73: 3})))
    assert shown(recent) == ({71: 2}, 5.0)
    node3 = recent.rtts("node3")
    assert node3 is not None
    assert dict(node3.counts) == {73: 3}


def test_agent_that_started_again_has_no_past() -> None:
    """Until its second answer."""
    recent = RecentCounts()
    recent.update(10.0, counts(counted("node2", {71: 9})))
    recent.update(15.0, counts(counted("node2", {71: 20}), created_unix_seconds=1_700_000_500))
    assert shown(recent) is None
    recent.update(20.0, counts(counted("node2", {71: 21}), created_unix_seconds=1_700_000_500))
    assert shown(recent) == ({71: 1}, 5.0)


def test_answer_without_histograms_changes_nothing() -> None:
    """As the first one, or one of an older version."""
    recent = RecentCounts()
    for now, each in enumerate((answer(pair("node2")), None, answer(pair("node2")), None)):
        recent.update(float(now), parsed(each) if each else counts(counted("node2", {71: now})))
    assert shown(recent) == ({71: 2}, 2.0)
