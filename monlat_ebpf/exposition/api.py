"""The JSON of `/api/v1/peers`: what `monlat peers`, `watch` and `collect` read. Its shape is stable.

Fields may be added; none changes its meaning or goes within `v1`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, TypedDict

from monlat_ebpf.exposition.chunks import in_chunks
from monlat_ebpf.histogram import NANOSECONDS_PER_SECOND, quantile
from monlat_ebpf.model import AgentSnapshot, PairSnapshot, Result

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
    },
)
"""One family of one peer. `lost` counts every probe that ended in anything but a reply, `results` all of
them by result; `sent == sum(results) + in_flight`. `device` is "" before a probe left."""


class AgentDocument(TypedDict):
    """What is of the agent, not of a pair. `source_reason` is "" when the source is the first choice."""

    node: str
    source: str
    source_reason: str
    interval_seconds: float
    timeout_seconds: float
    probe_errors: dict[str, int]
    foreign_packets: dict[str, int]


class PeersDocument(AgentDocument):
    """The whole answer; `pairs` in the order of the snapshot."""

    pairs: list[PairDocument]


def render_peers(snapshot: AgentSnapshot) -> Iterator[bytes]:
    """Yield a PeersDocument as JSON, in chunks: at 5,000 peers it has 2 MB."""
    return in_chunks(_pieces(snapshot))


def _pieces(snapshot: AgentSnapshot) -> Iterator[bytes]:
    yield json.dumps(_agent_document(snapshot)).removesuffix("}").encode() + b', "pairs": ['
    separator = b""
    for pair in snapshot.pairs:
        yield separator + json.dumps(_pair_document(snapshot, pair)).encode()
        separator = b", "
    yield b"]}\n"


def _agent_document(snapshot: AgentSnapshot) -> AgentDocument:
    return {
        "node": snapshot.node,
        "source": snapshot.source,
        "source_reason": snapshot.source_reason,
        "interval_seconds": snapshot.interval_seconds,
        "timeout_seconds": snapshot.timeout_seconds,
        "probe_errors": dict(snapshot.probe_errors),
        "foreign_packets": dict(snapshot.foreign_packets),
    }


def _pair_document(snapshot: AgentSnapshot, pair: PairSnapshot) -> PairDocument:
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
            "last": _milliseconds(pair.last_rtt_ns),
            "p50": _milliseconds(_quantile_ns(pair, 0.50)),
            "p99": _milliseconds(_quantile_ns(pair, 0.99)),
            "min": _milliseconds(pair.min_rtt_ns),
            "max": _milliseconds(pair.max_rtt_ns),
        },
    }


def _quantile_ns(pair: PairSnapshot, q: float) -> float | None:
    """Return the q-quantile in whole nanoseconds, within the extremes seen: a bucket is wider than those may be."""
    seconds = quantile(pair.rtt, q)
    if seconds is None:
        return None
    nanoseconds = round(seconds * NANOSECONDS_PER_SECOND)
    if pair.min_rtt_ns is not None:
        nanoseconds = max(nanoseconds, pair.min_rtt_ns)
    if pair.max_rtt_ns is not None:
        nanoseconds = min(nanoseconds, pair.max_rtt_ns)
    return nanoseconds


def _milliseconds(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6
