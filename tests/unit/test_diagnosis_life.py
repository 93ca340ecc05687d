"""What bench/diagnosis lets happen in a cluster in which nothing is broken."""

from __future__ import annotations

from array import array

from bench.diagnosis_cluster import DAY_WINDOWS, PROBES, Cluster
from bench.diagnosis_life import ROLLING_WINDOWS, Change, Life, edited, without
from monlat_ebpf.diagnosis.window import Health, Row, Samples
from monlat_ebpf.model import Result
from tests.unit.diagnosis_windows import NETWORK, nodes, window

SIZE = 6
SEED = "2"


def test_six_hours_have_restarts_and_nodes_that_leave() -> None:
    """All six agents in the rolling restart, and some by themselves; a node that leaves is gone for two hours.

    Every window is sound: each reply with a report has its samples, and there are no more of them than replies.
    """
    life = Life(Cluster("test", SIZE, SIZE - 1), SEED)
    life.rolling_at = 100
    windows = [life.window() for _ in range(DAY_WINDOWS // 4)]
    assert SIZE <= life.counts["restarts"] <= 3 * SIZE
    assert 1 <= life.counts["left"] <= 4
    sizes = {len(each.nodes) for each in windows}
    assert SIZE in sizes
    assert SIZE - 1 in sizes
    silent = empty = slow_clock = 0
    for each in windows:
        for row in each.rows:
            if row is None:
                silent += 1
                continue
            empty += not row.peers
            assert row.network_rtt is not None
            replies = row.results[Result.REPLY]
            assert all(map(int.__le__, row.network_rtt.counts(), replies))
            ended = [sum(of_cell) for of_cell in zip(*row.results.values(), strict=True)]
            slow_clock += ended.count(PROBES - 1) == len(ended) > 0
    assert silent >= life.counts["restarts"]
    assert empty >= life.counts["restarts"] - 1  # one may start again in the last window
    assert 2 <= slow_clock <= 4  # in 4,320 windows, one of 1,000; it may be away for some


def test_a_rolling_restart_takes_all_agents_in_its_time() -> None:
    """Of 100 agents, one in each window."""
    life = Life(Cluster("test", 100, 4), SEED)
    life.rolling_at = 1
    silent: set[str] = set()
    for _ in range(ROLLING_WINDOWS):
        seen = life.window()
        of_window = {node.name for node, row in zip(seen.nodes, seen.rows, strict=True) if row is None}
        assert len(of_window) <= 3  # one more may restart by itself, or leave
        silent |= of_window
    assert len(silent) >= 99  # one may have left


def test_without_some_nodes() -> None:
    """b is gone: its row, and what a and c measured of it; the indices of c move up."""
    seen = window(nodes("abc"), lost={("a", "b"): {NETWORK: 5}, ("a", "c"): {NETWORK: 4}, ("c", "a"): {NETWORK: 3}})
    left = without(seen, {1})
    assert [node.name for node in left.nodes] == ["a", "c"]
    assert [(list(row.peers), list(row.results[NETWORK])) for row in left.rows if row] == [([1], [4]), ([0], [3])]
    samples = [row.network_rtt.counts() for row in left.rows if row and row.network_rtt]
    assert samples == [[11], [12]]


def test_a_changed_cell() -> None:
    """The second of two cells: 9 replies, 6 of them with a report, and 2 losses."""
    row = Row(
        array("I", [1, 2]),
        {Result.REPLY: array("I", [15, 15])},
        Samples.of([b"", b""]),
        Health(15),
        Samples.of([b"a" * 15] * 2),
    )
    changed = edited(row, {1: Change(replies=9, reported=6, lost=2)})
    assert {result: list(counts) for result, counts in changed.results.items()} == {
        Result.REPLY: [15, 9],
        Result.LOST_NETWORK: [0, 2],
    }
    assert changed.network_rtt is not None
    assert changed.network_rtt.counts() == [15, 6]
