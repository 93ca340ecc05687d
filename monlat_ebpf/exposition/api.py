"""The JSON of `/api/v1/peers`, which `monlat peers`, `explain`, `watch` and `demo` read.

Every time is in seconds, and its key ends in `_seconds`. Within `v1`, fields may be added; no field is removed or
changes its meaning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, TypedDict

from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND, quantile
from monlat_ebpf.exposition.buckets import Counted
from monlat_ebpf.exposition.chunks import in_chunks
from monlat_ebpf.model import AgentSnapshot, Family, Histogram, PairSnapshot, Queueing, Result

CONTENT_TYPE: Final = "application/json"


class RttDocument(TypedDict):
    """Round-trip times.

    `last` is null while the peer does not answer. The other fields are null until its first reply. The quantiles
    cover all replies since the peer was added. They come from the histogram, whose buckets are 9 % wide, and are
    limited to `min` and `max`.
    """

    last: float | None
    p50: float | None
    p99: float | None
    min: float | None
    max: float | None


class NetworkRttDocument(TypedDict):
    """RTT minus the peer's dwell, of the probes that the peer reported.

    `last` is null when the peer reported none of the last probes, the quantiles until its first report.
    """

    last: float | None
    p50: float | None
    p99: float | None


class SpreadDocument(TypedDict):
    """Quantiles, null without a sample."""

    p50: float | None
    p99: float | None


QueueingDocument = TypedDict("QueueingDocument", {"forward": float, "return": float})
"""Time of the last exchange above the minimum of the last `one_way.WINDOW` exchanges, by direction."""

PairDocument = TypedDict(
    "PairDocument",
    {
        "from": str,
        "to": str,
        "family": str,
        "address": str,
        "from_zone": str,
        "to_zone": str,
        "kind": str,
        "device": str,
        "sent": int,
        "replies": int,
        "lost": int,
        "results": dict[str, int],
        "in_flight": int,
        "late": int,
        "duplicates": int,
        "rtt_seconds": RttDocument,
        "network_rtt_seconds": NetworkRttDocument,
        "dwell_seconds": SpreadDocument,
        "peer_dwell_seconds": float | None,
        "clock_offset_seconds": float | None,
        "clock_offset_error_seconds": float | None,
        "queueing_seconds": QueueingDocument | None,
    },
)
"""One address family of one peer.

`kind` is "node", or "target" where no agent is expected. `results` counts the ended probes by result, and
`sent == sum(results) + in_flight`. `lost` counts all results except `reply`. `device` is "" before the first probe is
sent.

`dwell_seconds` is the time that this node's kernel takes to answer the peer. `peer_dwell_seconds` is the time that the
peer's kernel took to answer the last probe that it reported. `clock_offset_seconds` is the peer's clock minus ours;
its error is at most `clock_offset_error_seconds` in either direction. These four and `network_rtt_seconds` and
`queueing_seconds` need an agent at the peer, and are null until it reports."""


class ReplyStampsDocument(TypedDict):
    """Replies that `device` delivered, by who took their time stamp."""

    device: str
    driver: int
    stack: int


class AgentDocument(TypedDict):
    """What describes the agent and not a pair.

    `skipped_probes` were due but never started, because the agent did not run in time. `source_reason` says why the
    source is not the first choice; "" when it is. `send_delay_seconds` covers the probes
    to all peers. `unlisted_source_probes` counts by family the probes that left from an address by which the peers do
    not know this node.
    """

    node: str
    source: str
    source_reason: str
    interval_seconds: float
    timeout_seconds: float
    probe_errors: dict[str, int]
    skipped_probes: int
    unlisted_source_probes: dict[str, int]
    unmatched_packets: dict[str, int]
    rejected_feedback: dict[str, int]
    send_delay_seconds: SpreadDocument
    reply_stamps: list[ReplyStampsDocument]


class PeersDocument(AgentDocument):
    """The whole answer. `pairs` has the order of the snapshot."""

    pairs: list[PairDocument]


def render_peers(snapshot: AgentSnapshot, counted: Counted | None = None) -> Iterator[bytes]:
    """Yield a PeersDocument as JSON, in chunks: 5,000 peers make 4 MB. `counted` adds what a collector asks for."""
    return in_chunks(_pieces(snapshot, counted))


def _pieces(snapshot: AgentSnapshot, counted: Counted | None) -> Iterator[bytes]:
    of_agent = {**agent_document(snapshot), **(counted.of_agent(snapshot) if counted else {})}
    yield json.dumps(of_agent).removesuffix("}").encode() + b', "pairs": ['
    separator = b""
    for pair in snapshot.pairs:
        of_pair = {**pair_document(snapshot, pair), **(counted.of_pair(pair) if counted else {})}
        yield separator + json.dumps(of_pair).encode()
        separator = b", "
    yield b"]}\n"


def agent_document(snapshot: AgentSnapshot) -> AgentDocument:
    """Return the part of the answer that describes the agent."""
    return {
        "node": snapshot.node,
        "source": snapshot.source,
        "source_reason": snapshot.source_reason,
        "interval_seconds": snapshot.interval_seconds,
        "timeout_seconds": snapshot.timeout_seconds,
        "probe_errors": dict(snapshot.probe_errors),
        "skipped_probes": snapshot.skipped_probes,
        "unlisted_source_probes": {family.value: snapshot.unlisted_sources.get(family, 0) for family in Family},
        "unmatched_packets": dict(snapshot.unmatched_packets),
        "rejected_feedback": dict(snapshot.rejected_feedback or {}),
        "send_delay_seconds": _spread(snapshot.send_delay),
        "reply_stamps": [
            {
                "device": device,
                "driver": snapshot.reply_stamps.get((device, "driver"), 0),
                "stack": snapshot.reply_stamps.get((device, "stack"), 0),
            }
            for device in sorted({device for device, _ in snapshot.reply_stamps})
        ],
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
        "kind": pair.kind.value,
        "device": pair.device,
        "sent": pair.sent,
        "replies": results[Result.REPLY],
        "lost": sum(results.values()) - results[Result.REPLY],
        "results": results,
        "in_flight": pair.in_flight,
        "late": pair.late,
        "duplicates": pair.duplicates,
        "rtt_seconds": {
            "last": seconds(pair.last_rtt_ns),
            "p50": seconds(_rtt_quantile_ns(pair, 0.50)),
            "p99": seconds(_rtt_quantile_ns(pair, 0.99)),
            "min": seconds(pair.min_rtt_ns),
            "max": seconds(pair.max_rtt_ns),
        },
        "network_rtt_seconds": {"last": seconds(pair.last_network_rtt_ns), **_spread(pair.network_rtt)},
        "dwell_seconds": _spread(pair.dwell),
        "peer_dwell_seconds": seconds(pair.last_peer_dwell_ns),
        "clock_offset_seconds": seconds(pair.clock_offset.offset_ns) if pair.clock_offset else None,
        "clock_offset_error_seconds": seconds(pair.clock_offset.error_ns) if pair.clock_offset else None,
        "queueing_seconds": _queueing(pair.queueing),
    }


def _spread(histogram: Histogram | None) -> SpreadDocument:
    return {"p50": seconds(_quantile_ns(histogram, 0.50)), "p99": seconds(_quantile_ns(histogram, 0.99))}


def _queueing(queueing: Queueing | None) -> QueueingDocument | None:
    if queueing is None:
        return None
    return {
        "forward": queueing.forward_ns / NANOSECONDS_PER_SECOND,
        "return": queueing.return_ns / NANOSECONDS_PER_SECOND,
    }


def _rtt_quantile_ns(pair: PairSnapshot, q: float) -> int | None:
    """Return the q-quantile, limited to the measured minimum and maximum: a bucket can reach beyond them."""
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
    value = None if histogram is None else quantile(histogram, q)
    return None if value is None else round(value * NANOSECONDS_PER_SECOND)


def seconds(nanoseconds: float | None) -> float | None:
    """Convert nanoseconds to seconds; None stays None."""
    return None if nanoseconds is None else nanoseconds / NANOSECONDS_PER_SECOND
