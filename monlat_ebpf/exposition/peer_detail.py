"""The JSON of `/api/v1/peers?peer=NAME`: one peer with its last probes. `monlat explain` reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypedDict

from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND
from monlat_ebpf.exposition.api import AgentDocument, PairDocument, agent_document, pair_document, seconds
from monlat_ebpf.model import AgentSnapshot, Family, RecentProbe


class ProbeDocument(TypedDict):
    """One probe that has ended. `sent_unix_seconds` counts from 1970 by this node's wall clock.

    A time that is not known is null: the RTT of a probe without a reply, and, until the peer reports the probe, the
    peer's dwell and the network RTT (RTT minus dwell). `forward_seconds` and `return_seconds` split the network RTT
    by the estimated offset of the peer's clock. One can be too long, and the other too short by the same amount: at
    most the pair's `clock_offset_error_seconds`.
    """

    sequence: int
    result: str
    sent_unix_seconds: float
    send_delay_seconds: float | None
    rtt_seconds: float | None
    peer_dwell_seconds: float | None
    network_rtt_seconds: float | None
    forward_seconds: float | None
    return_seconds: float | None


class ExplainedPairDocument(PairDocument):
    """A pair with its last probes, oldest first."""

    probes: list[ProbeDocument]


class PeerDocument(AgentDocument):
    """A PeersDocument of one peer: a pair for each of its families, none when no peer has that name."""

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
    """Return one probe."""
    network = None if probe.rtt_ns is None or probe.dwell_ns is None else probe.rtt_ns - probe.dwell_ns
    return {
        "sequence": probe.sequence,
        "result": probe.result.value,
        "sent_unix_seconds": probe.sent_unix_ns / NANOSECONDS_PER_SECOND,
        "send_delay_seconds": seconds(probe.send_delay_ns),
        "rtt_seconds": seconds(probe.rtt_ns),
        "peer_dwell_seconds": seconds(probe.dwell_ns),
        "network_rtt_seconds": seconds(network),
        "forward_seconds": seconds(probe.forward_ns),
        "return_seconds": seconds(probe.return_ns),
    }
