"""The JSON of `/api/v1/peers?peer=NAME`: one peer with its last probes, what `monlat explain` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypedDict

from monlat_ebpf.exposition.api import AgentDocument, PairDocument, agent_document, pair_document
from monlat_ebpf.model import AgentSnapshot, Family, RecentProbe


class ProbeDocument(TypedDict):
    """One probe that has ended. `sent_unix` is in seconds since 1970, by this node's wall clock; the rest in µs.

    Null is what is not known: the RTT of a probe without a reply, `dwell_us` (the peer's) and `network_us` (RTT less
    dwell) until the peer told. `forward_us` and `return_us` split `network_us` by the estimated offset of the
    peer's clock: the one may be too long, and the other too short, by as much as `clock_offset_error_ms` of the pair.
    """

    sequence: int
    result: str
    sent_unix: float
    send_delay_us: float | None
    rtt_us: float | None
    dwell_us: float | None
    network_us: float | None
    forward_us: float | None
    return_us: float | None


class ExplainedPairDocument(PairDocument):
    """A pair with its last probes, oldest first."""

    probes: list[ProbeDocument]


class PeerDocument(AgentDocument):
    """A PeersDocument of one peer: a pair for each of its families, none when nobody of that name is measured."""

    pairs: list[ExplainedPairDocument]


def render_peer(snapshot: AgentSnapshot, peer: str, recent: Mapping[Family, Sequence[RecentProbe]]) -> bytes:
    """Return a PeerDocument as JSON."""
    pairs: list[ExplainedPairDocument] = [
        {**pair_document(snapshot, pair), "probes": [probe_document(probe) for probe in recent.get(pair.family, ())]}
        for pair in snapshot.pairs
        if pair.to == peer
    ]
    document: PeerDocument = {**agent_document(snapshot), "pairs": pairs}
    return json.dumps(document).encode() + b"\n"


def probe_document(probe: RecentProbe) -> ProbeDocument:
    """Return one probe as the JSON shows it."""
    network = None if probe.rtt_ns is None or probe.dwell_ns is None else probe.rtt_ns - probe.dwell_ns
    return {
        "sequence": probe.sequence,
        "result": probe.result.value,
        "sent_unix": probe.sent_unix_ns / 1e9,
        "send_delay_us": _microseconds(probe.send_delay_ns),
        "rtt_us": _microseconds(probe.rtt_ns),
        "dwell_us": _microseconds(probe.dwell_ns),
        "network_us": _microseconds(network),
        "forward_us": _microseconds(probe.forward_ns),
        "return_us": _microseconds(probe.return_ns),
    }


def _microseconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e3
