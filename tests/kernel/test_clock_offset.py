"""The offset of the peer's clock: what a test injects is reported, within the error that is reported with it."""

from __future__ import annotations

import pytest

from monlat_ebpf.host.wall_clock import Reading, WallClock, read_clocks
from monlat_ebpf.model import PairSnapshot, Result
from monlat_ebpf.testbed.namespace import Namespace
from testkit.emulated_peer import EmulatedPeer
from testkit.pair import Pair
from testkit.plan import Plan
from testkit.reflector import Reflector
from testkit.waiting import wait_until
from tests.kernel.addresses import reflected_peers
from tests.kernel.measuring import Measurement
from tests.kernel.two_agents import FOR_EVER, two_agents

MICROSECOND, MILLISECOND, SECOND = 1_000, 1_000_000, 1_000_000_000
READINGS_NS = 500 * MICROSECOND
"""Two processes read wall and monotonic clock one after the other, and so differ about the time between both clocks.

It is some 100 ns, and more when another process gets the core between the two readings. The asymmetries below are 3 ms
or more.
"""
LARGEST_ERROR_NS = 10 * MILLISECOND  # over veth it is some 20 us


class WrongClock:
    """A wall clock that is `ahead_ns` ahead of this machine's."""

    def __init__(self, ahead_ns: int = 0) -> None:
        self.ahead_ns = ahead_ns

    def read(self) -> Reading:
        right = read_clocks()
        return right._replace(wall=right.wall + self.ahead_ns)


def is_within_bound(pair: PairSnapshot, truth_ns: int) -> bool:
    offset = pair.clock_offset
    return offset is not None and abs(offset.offset_ns - truth_ns) <= offset.error_ns < LARGEST_ERROR_NS


@pytest.mark.parametrize("ahead_ns", [37 * MILLISECOND, -2 * SECOND], ids=["37 ms ahead", "2 s behind"])
def test_wrong_clock_is_reported_within_its_error(ahead_ns: int) -> None:
    """After 53 probes of each family the near agent reports the far clock's offset, and the far agent its opposite."""
    with (
        Pair() as network,
        two_agents(*network, probes=53, far_clock=WallClock(WrongClock(ahead_ns).read)) as (near, far),
    ):
        near.wait()
        near_pairs, far_pairs = near.pairs(), far.pairs()
    assert near.results() == {Result.REPLY: 106}
    assert len(near_pairs) == len(far_pairs) == 2
    for pair in near_pairs:
        assert is_within_bound(pair, ahead_ns)
    for pair in far_pairs:
        assert is_within_bound(pair, -ahead_ns)


@pytest.mark.parametrize("whose", ["near", "far"])
def test_stepped_clock_is_reported_with_its_new_offset(whose: str) -> None:
    """A clock is right at first and then set back by 2 s while both agents run: both report the new offset.

    No network RTT is wrong meanwhile: the longest is no longer than the longest RTT.
    """
    clock, right = WrongClock(), WallClock()
    near_clock, far_clock = (WallClock(clock.read), right) if whose == "near" else (right, WallClock(clock.read))
    truth = 2 * SECOND if whose == "near" else -2 * SECOND
    with (
        Pair() as network,
        two_agents(*network, probes=FOR_EVER, near_clock=near_clock, far_clock=far_clock) as (near, far),
    ):

        def both_report(truth_ns: int) -> bool:
            pairs = [*((pair, truth_ns) for pair in near.pairs()), *((pair, -truth_ns) for pair in far.pairs())]
            return all(is_within_bound(pair, expected) for pair, expected in pairs)

        wait_until(lambda: both_report(0))
        clock.ahead_ns = -2 * SECOND
        wait_until(lambda: both_report(truth))
        for pair in (*near.pairs(), *far.pairs()):
            assert pair.network_rtt is not None
            longest = max(index for index, count in enumerate(pair.rtt.buckets) if count)
            assert not any(pair.network_rtt.buckets[longest + 1 :])
        assert near.source.sessions is not None
        assert not any(near.source.sessions.rejected_feedback().values())


@pytest.mark.parametrize(
    ("forward_ms", "return_ms", "clock_ms"), [(8, 2, 0), (2, 8, 0), (5, 5, 0), (8, 2, 37), (0, 10, -2_000)]
)
def test_asymmetry_shifts_the_offset_by_half_of_it(forward_ms: int, return_ms: int, clock_ms: int) -> None:
    """Where one way is longer than the other, each of 23 offsets is wrong by half the difference, as theory predicts.

    The reflector does not see the TUN device. Its time is what the network RTT is longer than 10 ms, and half of it at
    most adds to the error.
    """
    emulated_peer = EmulatedPeer(
        forward_ns=forward_ms * MILLISECOND,
        return_ns=return_ms * MILLISECOND,
        after_ns=100 * MICROSECOND,
        clock_ns=clock_ms * MILLISECOND,
    )
    plan = Plan(delay_ns=10 * MILLISECOND + 50 * MICROSECOND, emulated_peer=emulated_peer)
    with (
        Namespace("agent") as namespace,
        Reflector(namespace, plan, spin=False),
        Measurement(namespace, reflected_peers(23), interval_seconds=3.0) as measurement,
    ):
        measurement.wait()
        wait_until(lambda: all(pair.clock_offset is not None for pair in measurement.pairs()))
        pairs = measurement.pairs()
    assert len(pairs) == 23
    predicted = (clock_ms + (forward_ms - return_ms) / 2) * MILLISECOND
    for pair in pairs:
        assert pair.clock_offset is not None
        half_of_device_ns = pair.clock_offset.error_ns - 5 * MILLISECOND
        assert half_of_device_ns > 0
        assert abs(pair.clock_offset.offset_ns - predicted) <= half_of_device_ns + READINGS_NS
        assert abs(pair.clock_offset.offset_ns - clock_ms * MILLISECOND) <= pair.clock_offset.error_ns + READINGS_NS
