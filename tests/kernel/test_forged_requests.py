"""Forged requests from a peer's own addresses: what a pair measures and reports is as without them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from monlat_ebpf.model import Result
from testkit.waiting import wait_until
from tests.kernel.lossy_router import LossyRouter, lossy_router
from tests.kernel.measuring import Measurement
from tests.kernel.reported_probes import rejected
from tests.kernel.two_agents import FOR_EVER

FORGED = 100_000
MISMATCHES = FORGED * 9 // 16  # those of a stream that report on a probe
PAIRS = 5
INTERVAL_SECONDS, TIMEOUT_SECONDS = 0.1, 0.3
LOST = (Result.LOST_FORWARD, Result.LOST_RETURN, Result.LOST_NETWORK)


@contextmanager
def forging(bed: LossyRouter) -> Iterator[subprocess.Popen[bytes]]:
    """Let an unprivileged process of the far node forge requests from all of its addresses."""
    bed.far.sysctl("net.ipv4.ping_group_range", "0 2147483647")
    pairs = zip(bed.peers_of_far, bed.peers_of_near, strict=True)
    addresses = [
        str(address)
        for near, far in pairs
        for source, destination in zip(far.addresses, near.addresses, strict=True)
        for address in (source, destination)
    ]
    process = bed.far.popen([sys.executable, "-m", "tests.kernel.forging", *addresses])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def agents(bed: LossyRouter) -> tuple[Measurement, Measurement]:
    near, far = (
        Measurement(
            namespace, peers, probes=FOR_EVER, interval_seconds=INTERVAL_SECONDS, timeout_seconds=TIMEOUT_SECONDS
        )
        for namespace, peers in ((bed.near, bed.peers_of_near), (bed.far, bed.peers_of_far))
    )
    return near, far


def results(near: Measurement) -> Counter[Result]:
    total: Counter[Result] = Counter()
    for target in near.prober.targets():
        total.update(target.ledger.results)
    return total


def lost(near: Measurement) -> int:
    return sum(results(near)[result] for result in LOST)


def reported(each: Measurement) -> list[int]:
    """Return the number of samples of the network RTT of each target."""
    return [pair.network_rtt.count if pair.network_rtt else 0 for pair in each.pairs()]


def test_forged_requests_change_nothing() -> None:
    """100,000 while requests and replies are lost by plan: each loss has its direction, and no sample is forged.

    Each target goes on having samples of the network RTT and a right clock offset. The peer is told of no request that
    it did not send. Each dwell is of a request of the peer.
    """
    with lossy_router(PAIRS) as bed:
        near, far = agents(bed)
        with far, near:
            wait_until(lambda: all(reported(near)) and all(reported(far)))
            before, rejected_before = reported(near), rejected(far.source)
            with forging(bed), bed.losing(forward=7, back=3, reports=0):
                wait_until(lambda: rejected(near.source).get("nonce_mismatch", 0) >= MISMATCHES and lost(near) >= 41)
                pairs = near.pairs()
            dropped = bed.dropped()
            wait_until(lambda: lost(near) == dropped.forward + dropped.back)
            counted = results(near)
            sent_by_far = [pair.sent for pair in far.pairs()]
        assert min(dropped.forward, dropped.back) > 7
        assert {result: counted[result] for result in LOST} == {
            Result.LOST_FORWARD: dropped.forward,
            Result.LOST_RETURN: dropped.back,
            Result.LOST_NETWORK: 0,
        }
        assert rejected(far.source) == rejected_before
        for pair, sent, first in zip(pairs, sent_by_far, before, strict=True):
            assert pair.clock_offset is not None
            assert abs(pair.clock_offset.offset_ns) <= pair.clock_offset.error_ns
            assert pair.network_rtt is not None
            assert first + 10 < pair.network_rtt.count <= pair.rtt.count
            assert pair.dwell is not None
            assert 10 < pair.dwell.count <= sent


def test_agents_find_each_other_among_forged_requests() -> None:
    """The flood is there before they start: all targets of both get samples of the network RTT."""
    with lossy_router(PAIRS) as bed, forging(bed) as process:
        near, far = agents(bed)
        with near:
            wait_until(lambda: rejected(near.source).get("nonce_mismatch", 0) > 1_000)
            with far:
                wait_until(lambda: all(reported(near)) and all(reported(far)))
        assert process.poll() is None
