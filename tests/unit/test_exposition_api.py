"""The JSON of /api/v1/peers: its shape, and the numbers in it."""

from __future__ import annotations

import json
from dataclasses import replace

from monlat_ebpf.exposition.api import PeersDocument, render_peers
from monlat_ebpf.exposition.chunks import CHUNK_BYTES
from monlat_ebpf.model import AgentSnapshot
from tests.unit import snapshots


def document_of(snapshot: AgentSnapshot) -> PeersDocument:
    document: PeersDocument = json.loads(b"".join(render_peers(snapshot)))
    return document


def test_answering_pair_has_the_documented_shape() -> None:
    """A pair of three replies, 64, 436 and 500 us, is shown whole; p50 lies in the bucket that holds 436 us.

    The median's rank is 1.5 of 3: half of bucket 71, which reaches from 2^(-20 + 70/8) to 2^(-20 + 71/8) s, so
    2^(-20 + 70.5/8) s = 428.8 us. Rank 2.97 is in bucket 73 at 0.97: 526 us, over the maximum seen, hence that.
    Of a sample each in buckets 36 and 49 the median is the edge of the first, 2^(-20 + 36/8) s = 21.579 us, and p99
    98 % up the second, 2^(-20 + 48.98/8) s = 66.444 us. Two in bucket 36 have 2^(-20 + 35.5/8) s = 20.664 us and
    2^(-20 + 35.99/8) s = 21.560 us.
    """
    document = document_of(snapshots.agent([snapshots.ANSWERING]))
    network_p99 = 0.066444
    p50 = document["pairs"][0]["rtt_ms"]["p50"]
    assert p50 is not None
    assert round(p50, 4) == 0.4288
    assert document == {
        "node": "node1",
        "source": "tracepoint",
        "source_reason": "",
        "interval_seconds": 1.0,
        "timeout_seconds": 0.5,
        "pairs": [
            {
                "from": "node1",
                "to": "node2",
                "family": "ipv4",
                "address": "10.0.0.2",
                "from_zone": "a",
                "to_zone": "b",
                "device": "eth0",
                "sent": 4,
                "replies": 3,
                "lost": 0,
                "results": {
                    "reply": 3,
                    "lost_network": 0,
                    "lost_forward": 0,
                    "lost_return": 0,
                    "lost_host": 0,
                    "unreachable": 0,
                    "send_error": 0,
                },
                "in_flight": 1,
                "late": 0,
                "duplicates": 1,
                "rtt_ms": {"last": 0.436, "p50": p50, "p99": 0.5, "min": 0.064, "max": 0.5},
                "network_rtt_ms": {"last": 0.064, "p50": 0.021579, "p99": network_p99},
                "dwell_ms": {"p50": 0.020664, "p99": 0.02156},
                "peer_dwell_ms": 0.372,
                "clock_offset_ms": -2.0005,
                "clock_offset_error_ms": 0.01,
                "queueing_ms": {"forward": 0.0, "return": 0.044},
            }
        ],
        "probe_errors": {"ENETUNREACH": 2, "host_unreachable": 3},
        "unmatched_packets": {"no_probe": 0, "nonce_mismatch": 7},
        "rejected_feedback": {"nonce_mismatch": 3, "unknown_peer": 0},
        "send_delay_ms": {"p50": 0.021579, "p99": network_p99},
    }


def test_lost_is_every_result_but_a_reply() -> None:
    """Of 30 probes 2 were answered and 1 is in flight; lost are 11 + 4 + 6 + 1 + 3 + 2 = 27."""
    pair = document_of(snapshots.agent([snapshots.SILENT_SINCE_A_WHILE]))["pairs"][0]
    assert (pair["sent"], pair["replies"], pair["lost"], pair["in_flight"]) == (30, 2, 27, 1)
    assert pair["late"] == 5
    assert pair["rtt_ms"]["last"] is None
    assert (pair["rtt_ms"]["min"], pair["rtt_ms"]["max"]) == (0.02, 9000.0)


def test_quantiles_stay_within_the_extremes() -> None:
    """With one reply every number is that one's, though its bucket reaches from 488 to 532 us, its middle 510 us."""
    longer = replace(snapshots.ANSWERING_OVER_IPV6, last_rtt_ns=530_000, min_rtt_ns=530_000, max_rtt_ns=530_000)
    rtt = document_of(snapshots.agent([snapshots.ANSWERING_OVER_IPV6]))["pairs"][0]["rtt_ms"]
    assert rtt == {"last": 0.5, "p50": 0.5, "p99": 0.5, "min": 0.5, "max": 0.5}
    rtt = document_of(snapshots.agent([longer]))["pairs"][0]["rtt_ms"]
    assert (rtt["p50"], rtt["p99"]) == (0.53, 0.53)  # 2^(-20 + 72.99/8) s = 532 us, cut to 530


def test_peer_that_never_answered_has_nulls() -> None:
    """There is no RTT to tell of, and the JSON says null instead of a number."""
    document = document_of(snapshots.agent([snapshots.NEVER_ANSWERED]))
    assert document["pairs"][0]["rtt_ms"] == {"last": None, "p50": None, "p99": None, "min": None, "max": None}
    assert document["pairs"][0]["lost"] == 2


def test_peer_that_tells_nothing_has_nulls() -> None:
    """What takes an agent at the peer is null, and so is the send delay of an agent that has sent nothing."""
    document = document_of(
        replace(snapshots.agent([snapshots.NEVER_ANSWERED]), rejected_feedback=None, send_delay=None)
    )
    pair = document["pairs"][0]
    assert pair["network_rtt_ms"] == {"last": None, "p50": None, "p99": None}
    assert pair["dwell_ms"] == {"p50": None, "p99": None}
    assert (pair["peer_dwell_ms"], pair["clock_offset_ms"], pair["clock_offset_error_ms"]) == (None, None, None)
    assert pair["queueing_ms"] is None
    assert document["rejected_feedback"] == {}
    assert document["send_delay_ms"] == {"p50": None, "p99": None}


def test_json_carries_odd_names_and_the_reason_of_a_fallback() -> None:
    """Names come through as they are, and a source of second choice says why."""
    snapshot = replace(snapshots.SMALL_CLUSTER, source="socket", source_reason="the kernel has no BTF")
    document = document_of(snapshot)
    assert document["pairs"][5]["to"] == snapshots.ODD_NAME
    assert (document["source"], document["source_reason"]) == ("socket", "the kernel has no BTF")
    assert len(document["pairs"]) == 6


def test_agent_without_peers_has_an_empty_list() -> None:
    """No pair is an empty list, not a missing one."""
    assert document_of(snapshots.agent([]))["pairs"] == []


def test_many_peers_leave_in_small_chunks() -> None:
    """The JSON of 307 peers comes in chunks, none longer than the limit and one pair, and is whole."""
    pairs = [snapshots.new_pair(f"node{number:03}", "10.0.0.9") for number in range(307)]
    chunks = list(render_peers(snapshots.agent(pairs)))
    one_pair = 1024  # 400 bytes and the names
    assert len(chunks) > 1
    assert max(map(len, chunks)) <= CHUNK_BYTES + one_pair
    assert [pair["to"] for pair in json.loads(b"".join(chunks))["pairs"]] == [pair.to for pair in pairs]
