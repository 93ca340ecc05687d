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
    """A pair with three replies, 64, 436 and 500 us. p50 lies in the bucket of 436 us.

    The median's rank is 1.5 of 3: half of bucket 71, which reaches from 2^(-20 + 70/8) to 2^(-20 + 71/8) s, so
    2^(-20 + 70.5/8) s = 428.8 us. Rank 2.97 is in bucket 73 at 0.97: 526 us, limited to the maximum of 500 us.
    Of a sample each in buckets 36 and 49 the median is the edge of the first, 2^(-20 + 36/8) s = 21.579 us, and p99
    98 % up the second, 2^(-20 + 48.98/8) s = 66.444 us. Two in bucket 36 have 2^(-20 + 35.5/8) s = 20.664 us and
    2^(-20 + 35.99/8) s = 21.560 us.
    """
    document = document_of(snapshots.agent([snapshots.ANSWERING]))
    network_p99 = 66.444e-6
    p50 = document["pairs"][0]["rtt_seconds"]["p50"]
    assert p50 is not None
    assert round(p50, 7) == 428.8e-6
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
                "kind": "node",
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
                "rtt_seconds": {"last": 436e-6, "p50": p50, "p99": 500e-6, "min": 64e-6, "max": 500e-6},
                "network_rtt_seconds": {"last": 64e-6, "p50": 21.579e-6, "p99": network_p99},
                "dwell_seconds": {"p50": 20.664e-6, "p99": 21.56e-6},
                "peer_dwell_seconds": 372e-6,
                "clock_offset_seconds": -2000.5e-6,
                "clock_offset_error_seconds": 10e-6,
                "queueing_seconds": {"forward": 0.0, "return": 44e-6},
            }
        ],
        "probe_errors": {"ENETUNREACH": 2, "host_unreachable": 3},
        "skipped_probes": 13,
        "unlisted_source_probes": {"ipv4": 0, "ipv6": 17},
        "unmatched_packets": {"no_probe": 0, "nonce_mismatch": 7},
        "rejected_feedback": {"nonce_mismatch": 3, "unknown_peer": 0},
        "send_delay_seconds": {"p50": 21.579e-6, "p99": network_p99},
        "reply_stamps": [
            {"device": "eth0", "driver": 5, "stack": 0},
            {"device": "eth1", "driver": 0, "stack": 2},
        ],
    }


def test_lost_counts_every_result_except_reply() -> None:
    """Of 30 probes 2 were answered and 1 is in flight; 11 + 4 + 6 + 1 + 3 + 2 = 27 were lost."""
    pair = document_of(snapshots.agent([snapshots.SILENT_SINCE_A_WHILE]))["pairs"][0]
    assert (pair["sent"], pair["replies"], pair["lost"], pair["in_flight"]) == (30, 2, 27, 1)
    assert pair["late"] == 5
    assert pair["rtt_seconds"]["last"] is None
    assert (pair["rtt_seconds"]["min"], pair["rtt_seconds"]["max"]) == (20e-6, 9.0)


def test_quantiles_stay_within_the_extremes() -> None:
    """With one reply all numbers are that reply's, although its bucket reaches from 488 to 532 us."""
    longer = replace(snapshots.ANSWERING_OVER_IPV6, last_rtt_ns=530_000, min_rtt_ns=530_000, max_rtt_ns=530_000)
    rtt = document_of(snapshots.agent([snapshots.ANSWERING_OVER_IPV6]))["pairs"][0]["rtt_seconds"]
    assert rtt == {"last": 500e-6, "p50": 500e-6, "p99": 500e-6, "min": 500e-6, "max": 500e-6}
    rtt = document_of(snapshots.agent([longer]))["pairs"][0]["rtt_seconds"]
    assert (rtt["p50"], rtt["p99"]) == (530e-6, 530e-6)  # 2^(-20 + 72.99/8) s = 532 us, limited to 530


def test_peer_that_never_answered_has_nulls() -> None:
    """There is no RTT, so the JSON has null and not a number."""
    document = document_of(snapshots.agent([snapshots.NEVER_ANSWERED]))
    assert document["pairs"][0]["rtt_seconds"] == {"last": None, "p50": None, "p99": None, "min": None, "max": None}
    assert document["pairs"][0]["lost"] == 2


def test_peer_without_reports_has_nulls() -> None:
    """Times that need an agent at the peer are null, and so is the send delay before the first probe."""
    document = document_of(
        replace(snapshots.agent([snapshots.NEVER_ANSWERED]), rejected_feedback=None, send_delay=None)
    )
    pair = document["pairs"][0]
    assert pair["network_rtt_seconds"] == {"last": None, "p50": None, "p99": None}
    assert pair["dwell_seconds"] == {"p50": None, "p99": None}
    assert (pair["peer_dwell_seconds"], pair["clock_offset_seconds"], pair["clock_offset_error_seconds"]) == (
        None,
        None,
        None,
    )
    assert pair["queueing_seconds"] is None
    assert document["rejected_feedback"] == {}
    assert document["send_delay_seconds"] == {"p50": None, "p99": None}


def test_json_has_odd_names_and_the_reason_for_a_fallback() -> None:
    """Names are unchanged, and a source that is not the first choice has its reason."""
    snapshot = replace(snapshots.SMALL_CLUSTER, source="socket", source_reason="the kernel has no BTF")
    document = document_of(snapshot)
    assert document["pairs"][5]["to"] == snapshots.ODD_NAME
    assert (document["source"], document["source_reason"]) == ("socket", "the kernel has no BTF")
    assert len(document["pairs"]) == 6


def test_agent_without_peers_has_an_empty_list() -> None:
    """Without pairs the list is empty, not missing."""
    assert document_of(snapshots.agent([]))["pairs"] == []


def test_many_peers_are_sent_in_small_chunks() -> None:
    """The JSON of 307 peers is complete, and no chunk is longer than the limit plus one pair."""
    pairs = [snapshots.new_pair(f"node{number:03}", "10.0.0.9") for number in range(307)]
    chunks = list(render_peers(snapshots.agent(pairs)))
    one_pair = 1024  # 400 bytes and the names
    assert len(chunks) > 1
    assert max(map(len, chunks)) <= CHUNK_BYTES + one_pair
    assert [pair["to"] for pair in json.loads(b"".join(chunks))["pairs"]] == [pair.to for pair in pairs]
