"""The metric families of an AgentSnapshot: name, type and help text of each. Every output format uses these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from monlat_ebpf.probing.one_way import WINDOW


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """The metadata of a family. `kind` is `counter`, `gauge` or `histogram`."""

    name: str
    kind: str
    help: str


LATENCY_BETWEEN_NODES: Final = MetricFamily(
    "latency_between_nodes",
    "gauge",
    "Last round-trip time between two nodes, in milliseconds. Absent while the peer does not answer.",
)
RTT: Final = MetricFamily(
    "monlat_rtt_seconds", "histogram", "Round-trip time from this node's network driver to the peer and back."
)
NETWORK_RTT: Final = MetricFamily(
    "monlat_network_rtt_seconds",
    "histogram",
    "Round-trip time minus the time in the peer's kernel. Needs an agent on the peer.",
)
DWELL: Final = MetricFamily(
    "monlat_dwell_seconds", "histogram", "Time in this node's kernel from a probe of the peer to the reply."
)
ZONE_RTT: Final = MetricFamily(
    "monlat_zone_rtt_seconds",
    "histogram",
    "Round-trip time to the peers of a zone: monlat_rtt_seconds of all of them. Only with --detail zone.",
)
ZONE_NETWORK_RTT: Final = MetricFamily(
    "monlat_zone_network_rtt_seconds",
    "histogram",
    "Round-trip time minus the time in the peers' kernels, of all peers of a zone. Only with --detail zone.",
)
ZONE_DWELL: Final = MetricFamily(
    "monlat_zone_dwell_seconds",
    "histogram",
    "Time in this node's kernel from a probe of a peer to the reply, of all peers of a zone. Only with --detail zone.",
)
SEND_DELAY: Final = MetricFamily(
    "monlat_send_delay_seconds",
    "histogram",
    "Time from handing a probe to this node's kernel until its driver had it.",
)
CLOCK_OFFSET: Final = MetricFamily(
    "monlat_clock_offset_seconds", "gauge", "The peer's wall clock minus this node's, from the least delayed probe."
)
CLOCK_OFFSET_ERROR: Final = MetricFamily(
    "monlat_clock_offset_error_seconds",
    "gauge",
    "Largest possible error of the clock offset in either direction: half of that probe's network "
    "round-trip time, plus the possible drift since.",
)
QUEUEING: Final = MetricFamily(
    "monlat_queueing_seconds",
    "gauge",
    f"Time of the last probe in each direction above the minimum of the last {WINDOW} probes.",
)
PROBES_SENT: Final = MetricFamily(
    "monlat_probes_sent_total", "counter", "Probes started, including those that could not be sent."
)
PROBE_RESULTS: Final = MetricFamily("monlat_probe_results_total", "counter", "Ended probes, by result.")
LATE_REPLIES: Final = MetricFamily("monlat_late_replies_total", "counter", "Replies after the timeout of their probe.")
DUPLICATE_REPLIES: Final = MetricFamily(
    "monlat_duplicate_replies_total", "counter", "Further replies to a probe that already had one."
)
PROBE_ERRORS: Final = MetricFamily(
    "monlat_probe_errors_total", "counter", "Probes that ended with an error, by ICMP error, errno, or another cause."
)
REPLY_STAMPS: Final = MetricFamily(
    "monlat_reply_stamps_total",
    "counter",
    "Replies by the interface that delivered them, and by who took the time stamp: its driver, or later the stack.",
)
UNLISTED_SOURCE_PROBES: Final = MetricFamily(
    "monlat_unlisted_source_probes_total",
    "counter",
    "Probes that left from another address than the one by which the peers know this node, so that they do not "
    "know whose these are.",
)
SKIPPED_PROBES: Final = MetricFamily(
    "monlat_skipped_probes_total",
    "counter",
    "Probes that were due but never started, because the agent did not run in time.",
)
UNMATCHED_PACKETS: Final = MetricFamily(
    "monlat_unmatched_packets_total",
    "counter",
    "Packets in monlat's format that match no probe of this agent, by reason.",
)
REJECTED_FEEDBACK: Final = MetricFamily(
    "monlat_rejected_feedback_total",
    "counter",
    "Reports of peers about this node's probes that were not used, by reason.",
)
PEER_INFO: Final = MetricFamily(
    "monlat_peer_info",
    "gauge",
    "Always 1. Labels: address, zones and kind of a measured pair: node, or target, which has no agent.",
)
PEER_DEVICE_INFO: Final = MetricFamily(
    "monlat_peer_device_info",
    "gauge",
    "Always 1. The label device is the network interface that sent the last probe of the pair.",
)
TIMESTAMP_SOURCE_INFO: Final = MetricFamily(
    "monlat_timestamp_source_info",
    "gauge",
    "Always 1. Labels: the source of the time stamps, and the reason if it is not the first choice.",
)
PEERS: Final = MetricFamily("monlat_peers", "gauge", "Peers that this agent measures.")
IN_FLIGHT_PROBES: Final = MetricFamily("monlat_in_flight_probes", "gauge", "Probes sent that have no result yet.")

ALL: Final = (
    LATENCY_BETWEEN_NODES,
    RTT,
    NETWORK_RTT,
    DWELL,
    ZONE_RTT,
    ZONE_NETWORK_RTT,
    ZONE_DWELL,
    SEND_DELAY,
    CLOCK_OFFSET,
    CLOCK_OFFSET_ERROR,
    QUEUEING,
    PROBES_SENT,
    PROBE_RESULTS,
    LATE_REPLIES,
    DUPLICATE_REPLIES,
    PROBE_ERRORS,
    SKIPPED_PROBES,
    UNLISTED_SOURCE_PROBES,
    REPLY_STAMPS,
    UNMATCHED_PACKETS,
    REJECTED_FEEDBACK,
    PEER_INFO,
    PEER_DEVICE_INFO,
    TIMESTAMP_SOURCE_INFO,
    PEERS,
    IN_FLIGHT_PROBES,
)
"""In the order in which they are shown."""
