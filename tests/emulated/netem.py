"""The truth by netem, on a kernel that has it: delays, losses, copies and overtaking that its own counters tell.

Not collected by its name: scripts/test-kernels runs it inside its virtual machines.
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
"""Over how late timers fire: an emulated processor is thirty times slower than a real one, and the host may be busy."""
DELAYS_MS = (0, 1, 10)
FAR_END_MS = 100
OVERTAKEN_MS = 2000
"""Longer than an emulated machine is ever held up, so that nothing else makes an RTT as long."""

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
    """Both families' accounts of each wire, and the RTTs of each wire's first probes, nanoseconds."""

    wires: Wires
    pairs: dict[str, list[PairSnapshot]]
    far_pairs: list[PairSnapshot]
    rtts: dict[str, list[int]]
    unmatched: dict[str, int]
    timer_lateness_ns: float

    def check_median(self, wire: str, truth_ns: int) -> float:
        """Compare a wire's median RTT with what its two timers were set to; return the difference."""
        error = median(self.rtts[wire]) - truth_ns
        assert abs(error) < MEDIAN_ERROR_LIMIT_NS + 2 * self.timer_lateness_ns
        return error


class TimerLateness(threading.Thread):
    """Sleeps for 5 ms again and again, from entering to leaving the block, and keeps how much longer it took."""

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
    """All wires measured at once, each with 101 probes of either family, by one program; the slow far end as well."""
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
    """Return one that loads now and probes in its `with` block, so that two can probe each other all the time."""
    return Measurement(namespace, peers, probes=PROBES, interval_seconds=0.3, timeout_seconds=4.0, linger_seconds=3.0)


def _sent(pairs: list[PairSnapshot]) -> int:
    return sum(pair.sent for pair in pairs)


def _replies(pairs: list[PairSnapshot]) -> int:
    replies = sum(pair.results[Result.REPLY] for pair in pairs)
    assert replies == sum(pair.rtt.count for pair in pairs)
    return replies


@pytest.mark.parametrize("delay_ms", DELAYS_MS)
def test_delay(measured: Measured, delay_ms: int) -> None:
    """Every one of 202 probes is answered, none before twice the delay, and the median is near it."""
    rtts, truth = measured.rtts[f"delay{delay_ms}"], 2 * delay_ms * MILLISECOND
    error = measured.check_median(f"delay{delay_ms}", truth)
    note(f"delay {delay_ms} ms: {len(rtts)} probes, median error {error / 1000:.0f} us")
    assert len(rtts) == 2 * PROBES
    assert min(rtts) >= truth


def test_jitter(measured: Measured) -> None:
    """Uniform jitter of 3 ms on 10 ms either way: no RTT under 14 ms, their median near 20 ms."""
    rtts = measured.rtts["jitter"]
    assert len(rtts) == 2 * PROBES
    assert min(rtts) >= 14 * MILLISECOND
    measured.check_median("jitter", 20 * MILLISECOND)


def test_loss(measured: Measured) -> None:
    """What netem dropped on the way there and back is what has no reply, to the packet."""
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


def test_copies(measured: Measured) -> None:
    """Each probe counts once; every answer over that, to a copied request or copied itself, is a duplicate."""
    pairs = measured.pairs["copies"]
    forward, back = measured.wires.counters("copies")
    duplicates = sum(pair.duplicates for pair in pairs)
    note(f"copies {duplicates}")
    assert forward.passed > _sent(pairs)
    assert back.passed > forward.passed
    assert _replies(pairs) == _sent(pairs)
    assert duplicates == back.passed - _sent(pairs)


def test_overtaking(measured: Measured) -> None:
    """Requests that netem lets overtake are those with a short RTT, each matched with its own answer."""
    pairs = measured.pairs["overtaking"]
    forward, _ = measured.wires.counters("overtaking")
    short = sum(_below(pair.rtt, OVERTAKEN_MS * MILLISECOND) for pair in pairs)
    note(f"overtaken {short}")
    assert 0 < short < _sent(pairs)
    assert short == forward.overtaken
    assert _replies(pairs) == _sent(pairs) == forward.passed


def test_far_end(measured: Measured) -> None:
    """A queue of 100 ms in the peer is dwell, as the peer itself counts it, and no part of the network RTT."""
    for near, far in zip(measured.pairs["far_end"], measured.far_pairs, strict=True):
        assert near.network_rtt is not None
        assert far.dwell is not None
        assert near.network_rtt.count > PROBES // 2
        assert far.dwell.count >= PROBES
        network = quantile(near.network_rtt, 0.5)
        assert network is not None
        note(f"peer's queue of {FAR_END_MS} ms: network RTT {network * 1e6:.0f} us")
        assert _below(far.dwell, FAR_END_MS * MILLISECOND) == 0
        assert _below(near.rtt, FAR_END_MS * MILLISECOND) == 0
        assert network * 1000 < FAR_END_MS / 2


def test_nothing_is_unmatched(measured: Measured) -> None:
    """No packet of all this is taken for a stranger's, and none came late."""
    assert measured.unmatched == {}
    assert [pair.late for pairs in measured.pairs.values() for pair in pairs] == [0] * 2 * len(DISTURBANCES)


def _below(histogram: Histogram, limit_ns: int) -> int:
    """Return how many samples lie in buckets that end below `limit_ns`."""
    return sum(count for count, edge in zip(histogram.buckets, EDGES_NS, strict=False) if edge < limit_ns)
