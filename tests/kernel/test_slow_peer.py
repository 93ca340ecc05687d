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

PROBES = 149
QUEUE_SECONDS = 0.05
MOST = 0.95
"""Of the probes: this bed is for times. Under its flood the hooks of some kernels miss a packet in some hundreds."""
TOLD = 0.5
"""Of the probes, at least: a peer that speaks just as answers leave names one twice and another never."""


def together(histograms: Sequence[Histogram | None]) -> Histogram:
    known = [histogram for histogram in histograms if histogram is not None]
    buckets = tuple(map(sum, zip(*(histogram.buckets for histogram in known), strict=True)))
    return Histogram(buckets, sum(histogram.sum_ns for histogram in known))


@dataclass(frozen=True)
class Figures:
    """Seconds: medians of RTT and of the peer's dwell, 99th percentile of the network RTT, and its samples."""

    rtt: float
    dwell: float
    network: float
    samples: int


def measure(network: Pair, *, slow: bool) -> Figures:
    near, far = network
    with (
        full_queue(far, near) if slow else nullcontext(),
        two_agents(near, far, probes=PROBES, interval_seconds=0.08) as (near_agent, far_agent),
    ):
        near_agent.wait()
        pairs, far_pairs = near_agent.pairs(), far_agent.pairs()
    assert near_agent.results()[Result.REPLY] > MOST * 2 * PROBES
    rtt = quantile(together([pair.rtt for pair in pairs]), 0.5)
    dwell = quantile(together([pair.dwell for pair in far_pairs]), 0.5)
    network_rtts = together([pair.network_rtt for pair in pairs])
    p99 = quantile(network_rtts, 0.99)
    assert rtt is not None and dwell is not None and p99 is not None  # noqa: PT018 -- one thing: there are samples
    return Figures(rtt, dwell, p99, network_rtts.count)


def test_a_queue_on_the_peer_is_dwell_and_not_network() -> None:
    """Replies wait over 50 ms in the peer's queue: RTT and dwell rise by as much; p99 of the network RTT stays in 3 x.

    While answers wait the peer tells of those that left, so that samples are not wanting then.
    """
    with Pair() as network:
        idle, slow = measure(network, slow=False), measure(network, slow=True)
    assert slow.rtt - idle.rtt > QUEUE_SECONDS
    assert slow.dwell - idle.dwell > QUEUE_SECONDS
    assert abs((slow.rtt - idle.rtt) - (slow.dwell - idle.dwell)) < 0.1 * slow.dwell
    assert slow.network < 3 * idle.network
    assert idle.samples > TOLD * 2 * PROBES
    assert slow.samples > TOLD * 2 * PROBES
