"""Results compared with netem's settings and counters: delays, losses, copies and overtaking.

pytest does not collect this file by its name: scripts/test-kernels runs it inside its virtual machines.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from types import TracebackType
from typing import Self

import pytest

from monlat_ebpf.abi.histogram import EDGES_NS, quantile
from monlat_ebpf.model import Histogram, PairSnapshot, Peer, Result
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.namespace import Namespace
from tests.emulated.findings import note
from tests.emulated.hooks import count_hits, hits
from tests.emulated.wires import Disturbance, Wires
from tests.kernel.measuring import Measurement

PROBES = 101
MILLISECOND = 1_000_000
MEDIAN_ERROR_LIMIT_NS = 3 * MILLISECOND
"""Beyond the lateness of timers: an emulated processor is thirty times slower than a real one."""
DELAYS_MS = (0, 1, 10)
FAR_END_MS = 100
NO_DWELL = 16
"""Requests without a dwell: those before the first feedback, and the last eight, whose replies may still wait."""
OVERTAKEN_MS = 2000
"""Longer than any pause of an emulated machine, so that nothing else makes an RTT as long."""

DISTURBANCES = (
    *(Disturbance(f"delay{ms}", f"delay {ms}ms", f"delay {ms}ms") for ms in DELAYS_MS),
    Disturbance("jitter", "delay 10ms 3ms", "delay 10ms 3ms"),
    Disturbance("loss", "loss 13%", "loss 7%"),
    Disturbance("copies", "duplicate 19%", "duplicate 11%"),
    Disturbance("overtaking", f"delay {OVERTAKEN_MS}ms reorder 23%", "delay 0ms"),
    Disturbance("far_end", far_end=f"delay {FAR_END_MS}ms"),
)


@dataclass(frozen=True)
class Measured:
    """The pairs of both families of each wire, and the RTTs of its first probes in nanoseconds."""

    wires: Wires
    pairs: dict[str, list[PairSnapshot]]
    far_pairs: list[PairSnapshot]
    rtts: dict[str, list[int]]
    unmatched: dict[str, int]
    timer_lateness_ns: float

    def check_median(self, wire: str, truth_ns: int) -> float:
        """Compare a wire's median RTT with the setting of its two netems; return the difference."""
        error = median(self.rtts[wire]) - truth_ns
        assert abs(error) < MEDIAN_ERROR_LIMIT_NS + 2 * self.timer_lateness_ns
        return error


class TimerLateness(threading.Thread):
    """Sleeps for 5 ms again and again inside the block, and keeps how much longer each sleep took."""

    def __init__(self) -> None:
        super().__init__(name="timer-lateness")
        self._over = threading.Event()
        self._samples_ns: list[int] = []

    def run(self) -> None:
        while not self._over.wait(0.1):
            before = time.monotonic_ns()
            time.sleep(0.005)
            self._samples_ns.append(time.monotonic_ns() - before - 5 * MILLISECOND)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self.join()

    @property
    def median_ns(self) -> float:
        return median(self._samples_ns)


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    """All wires measured at once, each with 101 probes of each family, and the slow far end by a second program."""
    count_hits()
    with Wires(DISTURBANCES) as wires:
        peers = wires.peers()
        far = _measurement(wires.far["far_end"], [wires.near_end("far_end")])
        near = _measurement(wires.near, peers)
        with far, near:
            with TimerLateness() as lateness:
                outcomes = near.wait()
            far.wait()
            pairs = near.pairs()
            assert isinstance(near.source, TracepointSource)
            note("hooks " + ", ".join(f"{hook} {count}" for hook, count in hits(near.source).items()))
            note(f"timers late by {lateness.median_ns / 1000:.0f} us")
            rtts = {
                peer.name: [
                    outcome.rtt_ns
                    for (address, _), outcome in outcomes.items()
                    if address in peer.addresses and outcome.rtt_ns is not None
                ]
                for peer in peers
            }
            by_wire = {peer.name: [pair for pair in pairs if pair.to == peer.name] for peer in peers}
            yield Measured(wires, by_wire, far.pairs(), rtts, near.unmatched(), lateness.median_ns)


def _measurement(namespace: Namespace, peers: Sequence[Peer]) -> Measurement:
    """Return a measurement that has loaded its program; it probes in its `with` block, so two can probe each other."""
    return Measurement(namespace, peers, probes=PROBES, interval_seconds=0.3, timeout_seconds=4.0, linger_seconds=3.0)


def _sent(pairs: list[PairSnapshot]) -> int:
    return sum(pair.sent for pair in pairs)


def _replies(pairs: list[PairSnapshot]) -> int:
    replies = sum(pair.results[Result.REPLY] for pair in pairs)
    assert replies == sum(pair.rtt.count for pair in pairs)
    return replies


@pytest.mark.parametrize("delay_ms", DELAYS_MS)
def test_delay_is_twice_netems(measured: Measured, delay_ms: int) -> None:
    """Each of 202 probes is answered, none before twice the delay, and the median is near it."""
    rtts, truth = measured.rtts[f"delay{delay_ms}"], 2 * delay_ms * MILLISECOND
    error = measured.check_median(f"delay{delay_ms}", truth)
    note(f"delay {delay_ms} ms: {len(rtts)} probes, median error {error / 1000:.0f} us")
    assert len(rtts) == 2 * PROBES
    assert min(rtts) >= truth


def test_jitter_stays_in_netems_range(measured: Measured) -> None:
    """Uniform jitter of 3 ms on 10 ms either way: no RTT under 14 ms, their median near 20 ms."""
    rtts = measured.rtts["jitter"]
    assert len(rtts) == 2 * PROBES
    assert min(rtts) >= 14 * MILLISECOND
    measured.check_median("jitter", 20 * MILLISECOND)


def test_loss_is_what_netem_dropped(measured: Measured) -> None:
    """The probes without a reply are exactly those that netem dropped in both directions."""
    pairs = measured.pairs["loss"]
    forward, back = measured.wires.counters("loss")
    note(f"loss {forward.dropped} + {back.dropped} of {_sent(pairs)}")
    assert forward.dropped > 0
    assert back.dropped > 0
    assert forward.passed + forward.dropped == _sent(pairs)
    assert back.passed + back.dropped == forward.passed
    assert _replies(pairs) == back.passed
    assert {result for pair in pairs for result, count in pair.results.items() if count} == {
        Result.REPLY,
        Result.LOST_NETWORK,
    }


def test_copied_packets_are_duplicates(measured: Measured) -> None:
    """Each probe counts once; every further reply, copied or to a copied request, is a duplicate."""
    pairs = measured.pairs["copies"]
    forward, back = measured.wires.counters("copies")
    duplicates = sum(pair.duplicates for pair in pairs)
    note(f"copies {duplicates}")
    assert forward.passed > _sent(pairs)
    assert back.passed > forward.passed
    assert _replies(pairs) == _sent(pairs)
    assert duplicates == back.passed - _sent(pairs)


def test_overtaking_replies_match_their_own_requests(measured: Measured) -> None:
    """Requests that overtake others have a short RTT, and each matches its own reply."""
    pairs = measured.pairs["overtaking"]
    forward, _ = measured.wires.counters("overtaking")
    short = sum(_below(pair.rtt, OVERTAKEN_MS * MILLISECOND) for pair in pairs)
    note(f"overtaken {short}")
    assert 0 < short < _sent(pairs)
    assert short == forward.overtaken
    assert _replies(pairs) == _sent(pairs) == forward.passed


def test_queue_of_the_peer_is_dwell(measured: Measured) -> None:
    """A queue of 100 ms in the peer is dwell, as the peer itself measures it, and not part of the network RTT."""
    for near, far in zip(measured.pairs["far_end"], measured.far_pairs, strict=True):
        assert near.network_rtt is not None
        assert far.dwell is not None
        assert near.network_rtt.count > PROBES // 2
        assert far.dwell.count >= PROBES - NO_DWELL
        network = quantile(near.network_rtt, 0.5)
        assert network is not None
        note(f"peer's queue of {FAR_END_MS} ms: network RTT {network * 1e6:.0f} us")
        assert _below(far.dwell, FAR_END_MS * MILLISECOND) == 0
        assert _below(near.rtt, FAR_END_MS * MILLISECOND) == 0
        assert network * 1000 < FAR_END_MS / 2


def test_nothing_is_unmatched(measured: Measured) -> None:
    """No packet was unmatched, and no reply was late."""
    assert measured.unmatched == {}
    assert [pair.late for pairs in measured.pairs.values() for pair in pairs] == [0] * 2 * len(DISTURBANCES)


def _below(histogram: Histogram, limit_ns: int) -> int:
    """Return how many samples lie in buckets that end below `limit_ns`."""
    return sum(count for count, edge in zip(histogram.buckets, EDGES_NS, strict=False) if edge < limit_ns)
