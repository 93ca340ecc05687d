"""Pairs as an agent would read them: replies within 20 us to 2 ms, a few probes lost, agents at all peers."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address

from monlat_ebpf.abi.histogram import of_samples
from monlat_ebpf.model import AgentSnapshot, ClockOffset, Family, PairReading, PeerKind, Queueing, Result

SAMPLES = 600  # a pair: ten minutes at one a second
ZONES = 3
DEVICE = 1  # the loopback device: the only one that every host has
CREATED_SECONDS = 1_790_000_000


def readings_of(peers: int) -> list[PairReading]:
    """Return one pair for each peer, node1 and so on."""
    random.seed(5)
    return [_reading(number) for number in range(1, peers + 1)]


def agent() -> AgentSnapshot:
    """Return what is of no pair."""
    send_delay = of_samples([10_000] * SAMPLES)
    return AgentSnapshot(
        "node0", "zone0", "tracepoint", "", 1.0, 1.0, send_delay=send_delay, created_unix_seconds=CREATED_SECONDS
    )


def _reading(number: int) -> PairReading:
    usual = 20_000 * 50 ** random.random()
    rtts = [int(usual * random.lognormvariate(0, 0.15)) for _ in range(SAMPLES)]
    lost = number % 3
    results = tuple({Result.REPLY: SAMPLES, Result.LOST_NETWORK: lost}.get(result, 0) for result in Result)
    return PairReading(
        to=f"node{number}",
        family=Family.IPV4,
        address=IPv4Address("10.0.0.0") + number,
        to_zone=f"zone{number % ZONES}",
        kind=PeerKind.NODE,
        created_unix_seconds=CREATED_SECONDS,
        device=DEVICE,
        sent=SAMPLES + lost + 1,
        results=results,
        in_flight=1,
        last_rtt_ns=rtts[-1],
        min_rtt_ns=min(rtts),
        counts=_memory(rtts) + bytes(16),
        session=_memory([rtt // 3 for rtt in rtts]) + _memory([rtt - rtt // 3 for rtt in rtts]),
        clock_offset=ClockOffset(random.gauss(0, 1e6), min(rtts) / 6),
        queueing=Queueing(rtts[-1] // 9, rtts[-1] // 7),
    )


def _memory(samples: Sequence[int]) -> bytes:
    histogram = of_samples(samples)
    return struct.pack("<QQ186I", histogram.count, histogram.sum_ns, *histogram.buckets)
