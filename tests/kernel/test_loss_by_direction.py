"""The direction in which a probe was lost, compared with the counters of a router that drops by plan."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from monlat_ebpf.model import Peer, Result
from monlat_ebpf.testbed.namespace import Namespace
from testkit.waiting import wait_until
from tests.kernel.lossy_router import LossyRouter, lossy_router
from tests.kernel.measuring import Measurement
from tests.kernel.two_agents import FOR_EVER

PING = (sys.executable, "-m", "monlat_ebpf", "ping")
INTERVAL_SECONDS = TIMEOUT_SECONDS = 0.2
LOSS_SECONDS = 60
LOST = (Result.LOST_FORWARD, Result.LOST_RETURN, Result.LOST_NETWORK)


def agent(namespace: Namespace, peers: Sequence[Peer]) -> Measurement:
    return Measurement(
        namespace, peers, probes=FOR_EVER, interval_seconds=INTERVAL_SECONDS, timeout_seconds=TIMEOUT_SECONDS
    )


@contextmanager
def agents(bed: LossyRouter) -> Iterator[Measurement]:
    """Let an agent run on each node, and give the near one when both have proved themselves to each other."""
    with agent(bed.far, bed.peers_of_far) as far, agent(bed.near, bed.peers_of_near) as near:
        wait_until(lambda: all(is_reported(each) for each in (near, far)))
        yield near


def is_reported(each: Measurement) -> bool:
    return all(pair.network_rtt is not None and pair.network_rtt.count for pair in each.pairs())


def losses(near: Measurement) -> Counter[Result]:
    total: Counter[Result] = Counter()
    for target in near.prober.targets():
        total.update({result: target.ledger.results[result] for result in LOST})
    return total


def lose(
    bed: LossyRouter, near: Measurement, lost: int, *, forward: int, back: int
) -> tuple[int, int, Counter[Result]]:
    """Drop by that plan until `lost` probes are lost; return how many each way, and what the agent counts."""
    before = losses(near)
    assert not before.total()
    with bed.losing(forward=forward, back=back, reports=back):
        wait_until(lambda: losses(near).total() >= lost, seconds=LOSS_SECONDS)
    dropped = bed.dropped()
    wait_until(lambda: losses(near).total() == dropped.forward + dropped.back)
    return dropped.forward, dropped.back, losses(near)


def test_loss_is_counted_by_direction() -> None:
    """5 % each way between 94 addresses, in any phase, and the timeout is one interval: 99 of 100 have their direction.

    The peer's own requests, which carry its reports, are dropped as its replies are.
    """
    with lossy_router(47) as bed, agents(bed) as near:
        forward, back, results = lose(bed, near, 397, forward=5, back=5)
    assert min(forward, back) > 150
    assert results[Result.LOST_FORWARD] <= forward
    assert results[Result.LOST_RETURN] <= back
    assert results[Result.LOST_NETWORK] * 100 <= forward + back


def test_direction_is_unknown_without_an_agent_at_the_peer() -> None:
    """The same losses and no reports: all are lost in the network."""
    with lossy_router(47) as bed, agent(bed.near, bed.peers_of_near) as near:
        wait_until(lambda: all(pair.results[Result.REPLY] for pair in near.pairs()))
        forward, back, results = lose(bed, near, 97, forward=5, back=5)
    assert results == {Result.LOST_NETWORK: forward + back, Result.LOST_FORWARD: 0, Result.LOST_RETURN: 0}


def test_another_stream_of_this_host_does_not_change_the_direction() -> None:
    """Replies are lost, never requests, while a ping and a second agent run on the same host, which then starts again.

    No agent counts a loss on the way there.
    """
    with lossy_router(11) as bed, agents(bed) as near, bed.losing(forward=0, back=11, reports=11):
        ping = [
            bed.near.popen([*PING, str(peer.addresses[0]), "-i", "0.05"], stdout=subprocess.DEVNULL)
            for peer in bed.peers_of_near[:3]
        ]
        try:
            for _ in range(2):
                with agent(bed.near, bed.peers_of_near) as second:
                    wait_until(lambda: is_reported(second) and losses(second)[Result.LOST_RETURN] >= 11, seconds=60)
                    assert losses(second)[Result.LOST_FORWARD] == 0
            wait_until(lambda: losses(near)[Result.LOST_RETURN] >= 23, seconds=60)
        finally:
            for process in ping:
                process.kill()
                process.wait()
        assert losses(near)[Result.LOST_FORWARD] == 0
