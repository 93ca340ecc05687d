"""A lost probe whose direction the peer may still report."""

from __future__ import annotations

import threading
import time

import pytest

from monlat_ebpf.abi.sessions import Sessions
from monlat_ebpf.host.wall_clock import WallClock
from monlat_ebpf.model import PairSnapshot, Result
from monlat_ebpf.probing.feedback import FeedbackChannel, TargetHistory
from monlat_ebpf.probing.prober import Prober
from testkit.waiting import wait_until
from tests.unit.fake_source import FakeSource
from tests.unit.running_prober import peer


class Channel(FeedbackChannel):
    """A feedback channel whose peer reports where each probe was lost when the test says so."""

    def __init__(self, source: FakeSource) -> None:
        memories = {name: bytearray(length) for name, length in source.table.size.map_bytes().items()}
        super().__init__(Sessions(source.table.size, memories), source.table, WallClock())
        self.where: Result | None = None

    def where_lost(
        self, target: int, history: TargetHistory, sequence: int, deadline_ns: int, newest: int
    ) -> Result | None:
        return self.where


@pytest.mark.parametrize("where", [Result.LOST_FORWARD, Result.LOST_RETURN, None])
def test_lost_probe_waits_in_flight_for_the_report_that_tells_where(where: Result | None) -> None:
    """The last RTT goes at the deadline. The result is that of the report, or lost in the network after 3 intervals."""
    source = FakeSource(1)
    channel = Channel(source)
    prober = Prober(source, interval_seconds=0.2, timeout_seconds=0.001, max_peers=1, count=2, feedback=channel)
    prober.set_peers([peer("a", "10.0.0.1")])
    thread = threading.Thread(target=prober.run)
    started = time.monotonic_ns()
    thread.start()
    try:
        wait_until(lambda: only_pair(prober).last_rtt_ns)
        source.behaviour = source.lose
        wait_until(lambda: only_pair(prober).sent == 2 and only_pair(prober).last_rtt_ns is None)
        assert only_pair(prober).in_flight == 1
        channel.where = where
    finally:
        thread.join(timeout=30)
        prober.stop()
    pair = only_pair(prober)
    assert {result for result, count in pair.results.items() if count} == {Result.REPLY, where or Result.LOST_NETWORK}
    assert (pair.sent, pair.in_flight) == (2, 0)
    if where is None:
        assert time.monotonic_ns() - started >= 3 * 200_000_000


def only_pair(prober: Prober) -> PairSnapshot:
    (pair,) = prober.pairs()
    return pair
