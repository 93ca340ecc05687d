"""The JSON of `/api/v1/peers`: what `monlat peers`, `watch` and `collect` read. Its shape is stable.

Fields may be added; none changes its meaning or goes within `v1`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, TypedDict

from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND, quantile
from monlat_ebpf.exposition.chunks import in_chunks
from monlat_ebpf.model import AgentSnapshot, Histogram, PairSnapshot, Queueing, Result

CONTENT_TYPE: Final = "application/json"


class RttDocument(TypedDict):
    """Round-trip times in milliseconds.

    `last` is null while the peer does not answer, the others until it first has. The quantiles are of all
    replies since the peer came, read from the histogram (9 % to the bucket) and kept within `min` and `max`.
    """

    last: float | None
    p50: float | None
    p99: float | None
    min: float | None
    max: float | None


class NetworkRttDocument(TypedDict):
    """RTT less the peer's dwell, in milliseconds; `last` is of the last probe that the peer told of, null without one.

    The quantiles are null until the peer first told.
    """

    last: float | None
    p50: float | None
    p99: float | None


class SpreadDocument(TypedDict):
    """Quantiles in milliseconds, null without a sample."""

    p50: float | None
    p99: float | None


QueueingDocument = TypedDict("QueueingDocument", {"forward": float, "return": float})
"""Milliseconds above the least of the last exchanges (one_way.WINDOW of them), by direction."""

PairDocument = TypedDict(
    "PairDocument",
    {
        "from": str,
        "to": str,
        "family": str,
        "address": str,
        "from_zone": str,
        "to_zone": str,
        "device": str,
        "sent": int,
        "replies": int,
        "lost": int,
        "results": dict[str, int],
        "in_flight": int,
        "late": int,
        "duplicates": int,
        "rtt_ms": RttDocument,
        "network_rtt_ms": NetworkRttDocument,
        "dwell_ms": SpreadDocument,
        "peer_dwell_ms": float | None,
        "clock_offset_ms": float | None,
        "clock_offset_error_ms": float | None,
        "queueing_ms": QueueingDocument | None,
    },
)
"""One family of one peer. `lost` counts every probe that ended in anything but a reply, `results` all of
them by result; `sent == sum(results) + in_flight`. `device` is "" before a probe left.

`dwell_ms` is of this node's kernel when it answers the peer, `peer_dwell_ms` of the peer's when it answered the last
probe that it told of. `clock_offset_ms` is the peer's clock minus ours, known to within `clock_offset_error_ms`
either way. All of these take an agent at the peer, and are null as long as it tells nothing."""


class AgentDocument(TypedDict):
    """What is of the agent, not of a pair. `source_reason` is "" when the source is the first choice.

    `send_delay_ms` is of all probes to anybody.
    """

    node: str
    source: str
    source_reason: str
    interval_seconds: float
    timeout_seconds: float
    probe_errors: dict[str, int]
    unmatched_packets: dict[str, int]
    rejected_feedback: dict[str, int]
    send_delay_ms: SpreadDocument


class PeersDocument(AgentDocument):
    """The whole answer; `pairs` in the order of the snapshot."""

    pairs: list[PairDocument]


def render_peers(snapshot: AgentSnapshot) -> Iterator[bytes]:
    """Yield a PeersDocument as JSON, in chunks: at 5,000 peers it has 2 MB."""
    return in_chunks(_pieces(snapshot))


def _pieces(snapshot: AgentSnapshot) -> Iterator[bytes]:
    yield json.dumps(agent_document(snapshot)).removesuffix("}").encode() + b', "pairs": ['
    separator = b""
    for pair in snapshot.pairs:
        yield separator + json.dumps(pair_document(snapshot, pair)).encode()
        separator = b", "
    yield b"]}\n"


def agent_document(snapshot: AgentSnapshot) -> AgentDocument:
    """Return what is of the agent."""
    return {
        "node": snapshot.node,
        "source": snapshot.source,
        "source_reason": snapshot.source_reason,
        "interval_seconds": snapshot.interval_seconds,
        "timeout_seconds": snapshot.timeout_seconds,
        "probe_errors": dict(snapshot.probe_errors),
        "unmatched_packets": dict(snapshot.unmatched_packets),
        "rejected_feedback": dict(snapshot.rejected_feedback or {}),
        "send_delay_ms": _spread(snapshot.send_delay),
    }


def pair_document(snapshot: AgentSnapshot, pair: PairSnapshot) -> PairDocument:
    """Return one pair."""
    results = {result.value: pair.results.get(result, 0) for result in Result}
    return {
        "from": snapshot.node,
        "to": pair.to,
        "family": pair.family.value,
        "address": str(pair.address),
        "from_zone": snapshot.zone,
        "to_zone": pair.to_zone,
        "device": pair.device,
        "sent": pair.sent,
        "replies": results[Result.REPLY],
        "lost": sum(results.values()) - results[Result.REPLY],
        "results": results,
        "in_flight": pair.in_flight,
        "late": pair.late,
        "duplicates": pair.duplicates,
        "rtt_ms": {
            "last": milliseconds(pair.last_rtt_ns),
            "p50": milliseconds(_rtt_quantile_ns(pair, 0.50)),
            "p99": milliseconds(_rtt_quantile_ns(pair, 0.99)),
            "min": milliseconds(pair.min_rtt_ns),
            "max": milliseconds(pair.max_rtt_ns),
        },
        "network_rtt_ms": {"last": milliseconds(pair.last_network_rtt_ns), **_spread(pair.network_rtt)},
        "dwell_ms": _spread(pair.dwell),
        "peer_dwell_ms": milliseconds(pair.last_peer_dwell_ns),
        "clock_offset_ms": milliseconds(pair.clock_offset.offset_ns) if pair.clock_offset else None,
        "clock_offset_error_ms": milliseconds(pair.clock_offset.error_ns) if pair.clock_offset else None,
        "queueing_ms": _queueing(pair.queueing),
    }


def _spread(histogram: Histogram | None) -> SpreadDocument:
    return {"p50": milliseconds(_quantile_ns(histogram, 0.50)), "p99": milliseconds(_quantile_ns(histogram, 0.99))}


def _queueing(queueing: Queueing | None) -> QueueingDocument | None:
    if queueing is None:
        return None
    return {"forward": queueing.forward_ns / 1e6, "return": queueing.return_ns / 1e6}


def _rtt_quantile_ns(pair: PairSnapshot, q: float) -> int | None:
    """Return the q-quantile within the extremes seen: a bucket is wider than those may be."""
    nanoseconds = _quantile_ns(pair.rtt, q)
    if nanoseconds is None:
        return None
    if pair.min_rtt_ns is not None:
        nanoseconds = max(nanoseconds, pair.min_rtt_ns)
    if pair.max_rtt_ns is not None:
        nanoseconds = min(nanoseconds, pair.max_rtt_ns)
    return nanoseconds


def _quantile_ns(histogram: Histogram | None, q: float) -> int | None:
    """Return the q-quantile in whole nanoseconds."""
    seconds = None if histogram is None else quantile(histogram, q)
    return None if seconds is None else round(seconds * NANOSECONDS_PER_SECOND)


def milliseconds(nanoseconds: float | None) -> float | None:
    """Return milliseconds, None of None."""
    return None if nanoseconds is None else nanoseconds / 1e6
