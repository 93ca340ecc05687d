"""A peer that is slow to answer is told apart from a slow network."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from monlat_ebpf.abi.histogram import quantile
from monlat_ebpf.model import Histogram, Result
from testkit.pair import Pair
from tests.kernel.full_queue import full_queue
from tests.kernel.two_agents import two_agents

PROBES = 101
FEWEST = 0.25
"""Part of the probes that must be answered and measured, at least.

This test compares times and does not count losses. On some machines the kernel runs no tracing program for moments of
up to 15 ms. An agent may also report one request of its peer twice and another never.
"""


def together(histograms: Sequence[Histogram | None]) -> Histogram:
    known = [histogram for histogram in histograms if histogram is not None]
    buckets = tuple(map(sum, zip(*(histogram.buckets for histogram in known), strict=True)))
    return Histogram(buckets, sum(histogram.sum_ns for histogram in known))


def median_seconds(histogram: Histogram) -> float:
    assert histogram.count >= FEWEST * 2 * PROBES
    median = quantile(histogram, 0.5)
    assert median is not None
    return median


@dataclass(frozen=True)
class Medians:
    """Seconds."""

    rtt: float
    dwell: float
    network_rtt: float


def measure(network: Pair, *, slow: bool) -> Medians:
    near, far = network
    with (
        full_queue(far, near) if slow else nullcontext(),
        two_agents(near, far, probes=PROBES, interval_seconds=0.08) as (near_agent, far_agent),
    ):
        near_agent.wait()
        pairs, far_pairs = near_agent.pairs(), far_agent.pairs()
    assert near_agent.results()[Result.REPLY] >= FEWEST * 2 * PROBES
    return Medians(
        median_seconds(together([pair.rtt for pair in pairs])),
        median_seconds(together([pair.dwell for pair in far_pairs])),
        median_seconds(together([pair.network_rtt for pair in pairs])),
    )


def test_queue_on_the_peer_is_dwell_and_not_network_rtt() -> None:
    """Replies wait in the peer's queue: RTT and dwell rise by the same time, and the network RTT is no tenth of it.

    While replies wait, the peer reports requests whose replies have left. So there are samples of the network RTT.
    """
    with Pair() as network:
        idle, slow = measure(network, slow=False), measure(network, slow=True)
    assert slow.dwell > 10 * idle.dwell
    assert slow.rtt > 10 * idle.rtt
    assert abs((slow.rtt - idle.rtt) - (slow.dwell - idle.dwell)) < 0.1 * slow.dwell
    assert slow.network_rtt < 0.1 * slow.dwell
