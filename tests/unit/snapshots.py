"""A small cluster as one agent sees it, its numbers chosen so that every expected text can be worked out by hand.

Samples are given by bucket, not through the code that sorts them: bucket b ends at 2^(-20 + b/8) seconds.
    64 us   log2 = -13.93   bucket 49   at most 2^-13 s
   436 us   log2 = -11.16   bucket 71   at most 2^-11 s
   500 us   log2 = -10.97   bucket 73   at most 2^-10 s
    20 us   log2 = -15.61   bucket 36   at most 2^-15 s
     9 s    over 8 s        bucket 185  above the last edge
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address

from monlat_ebpf.exposition.detail import Details
from monlat_ebpf.exposition.encoding import Encoder
from monlat_ebpf.exposition.scrape import Exposition
from monlat_ebpf.exposition.sections import document
from monlat_ebpf.exposition.text import TextEncoder
from monlat_ebpf.model import AgentSnapshot, ClockOffset, Family, Histogram, PairReading, PairSnapshot, Queueing, Result

NO_SAMPLES = Histogram((0,) * 186, 0)

ODD_NAME = 'odd "%d@{},=\\\n\u00e9\u4e16'


def histogram(counts: dict[int, int], sum_ns: int) -> Histogram:
    return Histogram(tuple(counts.get(bucket, 0) for bucket in range(186)), sum_ns)


def new_pair(to: str, address: str, *, to_zone: str = "", device: str = "") -> PairSnapshot:
    """Return a pair that nothing was sent to yet."""
    parsed = ip_address(address)
    return PairSnapshot(
        to=to,
        family=Family.of(parsed),
        address=parsed,
        to_zone=to_zone,
        device=device,
        sent=0,
        results={},
        in_flight=0,
        late=0,
        duplicates=0,
        last_rtt_ns=None,
        min_rtt_ns=None,
        max_rtt_ns=None,
        rtt=NO_SAMPLES,
    )


def agent(pairs: Sequence[PairSnapshot]) -> AgentSnapshot:
    return AgentSnapshot(
        node="node1",
        zone="a",
        source="tracepoint",
        source_reason="",
        interval_seconds=1.0,
        timeout_seconds=0.5,
        pairs=pairs,
        probe_errors={"ENETUNREACH": 2, "host_unreachable": 3},
        unmatched_packets={"no_probe": 0, "nonce_mismatch": 7},
        rejected_feedback={"nonce_mismatch": 3, "unknown_peer": 0},
        skipped_probes=13,
        unlisted_sources={Family.IPV6: 17},
        send_delay=histogram({36: 1, 49: 1}, 84_000),
        reply_stamps={("eth0", "driver"): 5, ("eth1", "stack"): 2},
    )


ANSWERING = replace(
    new_pair("node2", "10.0.0.2", to_zone="b", device="eth0"),
    sent=4,
    results={Result.REPLY: 3},
    in_flight=1,
    duplicates=1,
    last_rtt_ns=436_000,
    min_rtt_ns=64_000,
    max_rtt_ns=500_000,
    rtt=histogram({49: 1, 71: 1, 73: 1}, 1_000_000),
    network_rtt=histogram({36: 1, 49: 1}, 84_000),
    dwell=histogram({36: 2}, 40_000),
    last_network_rtt_ns=64_000,
    last_peer_dwell_ns=372_000,
    clock_offset=ClockOffset(-2_000_500.0, 10_000.0),
    queueing=Queueing(0, 44_000),
)
ANSWERING_OVER_IPV6 = replace(
    new_pair("node2", "fd00::2", to_zone="b", device="eth0"),
    sent=1,
    results={Result.REPLY: 1},
    last_rtt_ns=500_000,
    min_rtt_ns=500_000,
    max_rtt_ns=500_000,
    rtt=histogram({73: 1}, 500_000),
    network_rtt=NO_SAMPLES,
    dwell=histogram({36: 1}, 20_000),
    clock_offset=ClockOffset(7.0, 7.0),
    queueing=Queueing(7, 7),
)
SILENT_SINCE_A_WHILE = replace(
    new_pair("node3", "fd00::3", device="eth1"),
    sent=30,
    results={
        Result.REPLY: 2,
        Result.LOST_NETWORK: 11,
        Result.LOST_FORWARD: 4,
        Result.LOST_RETURN: 6,
        Result.LOST_HOST: 1,
        Result.UNREACHABLE: 3,
        Result.SEND_ERROR: 2,
    },
    in_flight=1,
    late=5,
    min_rtt_ns=20_000,
    max_rtt_ns=9_000_000_000,
    rtt=histogram({36: 1, 185: 1}, 9_000_020_000),
)
ANSWERING_OVER_THE_SECOND_FAMILY = replace(
    new_pair("node3", "10.0.0.3", device="eth1"),
    sent=1,
    results={Result.REPLY: 1},
    last_rtt_ns=20_000,
    min_rtt_ns=20_000,
    max_rtt_ns=20_000,
    rtt=histogram({36: 1}, 20_000),
)
NEVER_ANSWERED = replace(new_pair("node4", "10.0.0.4"), sent=2, results={Result.LOST_NETWORK: 2})
NEW_WITH_ODD_NAME = new_pair(ODD_NAME, "10.0.0.5", to_zone='z"\\')

SMALL_CLUSTER = agent(
    [
        ANSWERING,
        ANSWERING_OVER_IPV6,
        SILENT_SINCE_A_WHILE,
        ANSWERING_OVER_THE_SECOND_FAMILY,
        NEVER_ANSWERED,
        NEW_WITH_ODD_NAME,
    ]
)

CREATED_SECONDS = 1_700_000_000
DEVICES = {1: "eth0", 2: "eth1"}


def struct_histogram(histogram: Histogram) -> bytes:
    """Return `struct histogram` of bpf/monlat.h: two numbers of 64 bits and 186 of 32."""
    return struct.pack("<QQ186I", histogram.count, histogram.sum_ns, *histogram.buckets)


def reading(pair: PairSnapshot) -> PairReading:
    """Return what the prober would read of `pair`."""
    session = None
    if pair.network_rtt is not None and pair.dwell is not None:
        session = struct_histogram(pair.network_rtt) + struct_histogram(pair.dwell)
    return PairReading(
        to=pair.to,
        family=pair.family,
        address=pair.address,
        to_zone=pair.to_zone,
        kind=pair.kind,
        created_unix_seconds=CREATED_SECONDS,
        device={name: index for index, name in DEVICES.items()}.get(pair.device, 0),
        sent=pair.sent,
        results=tuple(pair.results.get(result, 0) for result in Result),
        in_flight=pair.in_flight,
        last_rtt_ns=pair.last_rtt_ns,
        min_rtt_ns=pair.min_rtt_ns,
        counts=struct_histogram(pair.rtt) + struct.pack("<QQ", pair.late, pair.duplicates),
        session=session,
        clock_offset=pair.clock_offset,
        queueing=pair.queueing,
    )


def exposition(
    new_encoder: Callable[[], Encoder] = lambda: TextEncoder(is_openmetrics=False), details: Details | None = None
) -> Exposition:
    """Return an exposition that knows DEVICES."""
    return Exposition(new_encoder, details=details, device_of=lambda index: DEVICES.get(index, ""))


def render(exposition: Exposition, agent: AgentSnapshot) -> bytes:
    """Return the document of `agent` and its pairs."""
    return document(exposition.render(agent, map(reading, agent.pairs)))
