"""The direction in which a probe was lost, compared with the counters of a router that drops by plan."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

from monlat_ebpf.abi.probes import ProbeTable, TableSize
from monlat_ebpf.abi.sessions import Sessions
from monlat_ebpf.host.next_hops import NextHopState
from monlat_ebpf.model import Address, Family, Result
from monlat_ebpf.sources import do_nothing
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from testkit.waiting import wait_until
from tests.kernel.lossy_router import Dropped, LossyRouter, lossy_router
from tests.kernel.measuring import Measurement
from tests.kernel.two_agents import FOR_EVER

PROBES = 2_999
PAIRS = 23
INTERVAL_SECONDS = 0.15
TIMEOUT_SECONDS = 2.3  # the time of 15 reports of the peer, and less than the 16 slots of a target last
FINISH_SECONDS = 120


class LimitedSource:
    """The tracepoint source, which fails after `limit` packets, so that a known number is sent."""

    name = "limited"

    def __init__(self, size: TableSize, limit: int) -> None:
        self._source = TracepointSource(size)
        self.table: ProbeTable = self._source.table
        self.identifier = self._source.identifier
        self._left = limit

    @property
    def sessions(self) -> Sessions:
        return self._source.sessions

    def reserve(self, targets: int) -> None:
        self._source.reserve(targets)

    def errors(self) -> Mapping[str, int]:
        return self._source.errors()

    def send(
        self, packet: bytes, address: Address, start: Callable[[], object] = do_nothing, *, answering: bool = True
    ) -> None:
        if self._left == 0:
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        self._source.send(packet, address, start, answering=answering)
        self._left -= 1

    def send_otherwise(
        self, packet: bytes, address: Address, start: Callable[[], object], answering: bool, failure: OSError
    ) -> OSError | None:
        return failure

    def next_hop_state(self, address: Address) -> NextHopState:
        return self._source.next_hop_state(address)

    def use_sources(self, addresses: Sequence[Address]) -> frozenset[Family]:
        return self._source.use_sources(addresses)

    def close(self) -> None:
        self._source.close()


def results_of(bed: LossyRouter, probes: int, *, with_peer: bool) -> Counter[Result]:
    """Let the near agent send `probes` probes in all, and return how they ended."""
    far_agent = Measurement(
        bed.far,
        bed.peers_of_far,
        probes=FOR_EVER,
        interval_seconds=INTERVAL_SECONDS,
        timeout_seconds=TIMEOUT_SECONDS,
    ) if with_peer else nullcontext()  # fmt: skip
    with far_agent, Measurement(
        bed.near,
        bed.peers_of_near,
        probes=FOR_EVER,
        interval_seconds=INTERVAL_SECONDS,
        timeout_seconds=TIMEOUT_SECONDS,
        open_source=lambda size: LimitedSource(size, probes),
    ) as near_agent:  # fmt: skip

        def results() -> Counter[Result]:
            total: Counter[Result] = Counter()
            for pair in near_agent.pairs():
                total.update({result: count for result, count in pair.results.items() if count})
            del total[Result.SEND_ERROR]
            return total

        wait_until(lambda: results().total() == probes, seconds=FINISH_SECONDS)
        return results()


def test_loss_is_counted_by_direction() -> None:
    """The router drops 7 in 100 of 2,999 requests and 3 in 100 of their replies; each loss has its direction.

    By the router's plan that is 210 requests (7 of each of 29 hundreds, and of the rest), and 84 of 2,789 replies. The
    peer's own requests, which carry its reports, are dropped as its replies are.
    """
    with lossy_router(PAIRS, forward_percent=7, return_percent=3) as bed:
        results = results_of(bed, PROBES, with_peer=True)
        dropped = bed.dropped()
    assert (dropped.forward, dropped.back) == (210, 84)
    assert dropped.reports > 0
    assert results == {Result.REPLY: PROBES - 210 - 84, Result.LOST_FORWARD: 210, Result.LOST_RETURN: 84}


def test_direction_is_unknown_without_an_agent_at_the_peer() -> None:
    """The same losses over 997 probes, and no reports: all 70 and 30 are lost in the network."""
    with lossy_router(PAIRS, forward_percent=7, return_percent=3) as bed:
        results = results_of(bed, 997, with_peer=False)
        assert bed.dropped() == Dropped(70, 30, 0)
    assert results == {Result.REPLY: 997 - 100, Result.LOST_NETWORK: 100}
