"""The metric families that an AgentSnapshot becomes (DESIGN section 6): name, type and help text of each.

Every format names them from here, so that no two of them can differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from monlat_ebpf.probing.one_way import WINDOW


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """What a scraper reads above the samples; `kind` is `counter`, `gauge` or `histogram`."""

    name: str
    kind: str
    help: str


LATENCY_BETWEEN_NODES: Final = MetricFamily(
    "latency_between_nodes",
    "gauge",
    "The last round-trip time between two nodes, in milliseconds; absent while the peer does not answer.",
)
RTT: Final = MetricFamily(
    "monlat_rtt_seconds", "histogram", "Round-trip time from this node's driver to the peer and back to the driver."
)
NETWORK_RTT: Final = MetricFamily(
    "monlat_network_rtt_seconds",
    "histogram",
    "Round-trip time without what the peer's kernel took to answer, where the peer's agent tells it.",
)
DWELL: Final = MetricFamily(
    "monlat_dwell_seconds", "histogram", "Time that this node's kernel took to answer a probe of the peer."
)
SEND_DELAY: Final = MetricFamily(
    "monlat_send_delay_seconds",
    "histogram",
    "Time from handing a probe to this node's kernel until its driver had it.",
)
CLOCK_OFFSET: Final = MetricFamily(
    "monlat_clock_offset_seconds", "gauge", "The peer's wall clock minus this node's, by the least delayed probe."
)
CLOCK_OFFSET_ERROR: Final = MetricFamily(
    "monlat_clock_offset_error_seconds",
    "gauge",
    "How wrong the clock offset may be, either way: half of that probe's network round-trip time, and the drift since.",
)
QUEUEING: Final = MetricFamily(
    "monlat_queueing_seconds",
    "gauge",
    f"How much longer the last probe took in each direction than the best of the last {WINDOW}.",
)
PROBES_SENT: Final = MetricFamily("monlat_probes_sent_total", "counter", "Probes that the agent began to send.")
PROBE_RESULTS: Final = MetricFamily("monlat_probe_results_total", "counter", "Probes that ended, by how they ended.")
LATE_REPLIES: Final = MetricFamily(
    "monlat_late_replies_total", "counter", "Replies that came after their probe's deadline."
)
DUPLICATE_REPLIES: Final = MetricFamily(
    "monlat_duplicate_replies_total", "counter", "Replies to a probe that had one already."
)
PROBE_ERRORS: Final = MetricFamily(
    "monlat_probe_errors_total", "counter", "Probes that an error ended, by ICMP error or errno."
)
UNMATCHED_PACKETS: Final = MetricFamily(
    "monlat_unmatched_packets_total",
    "counter",
    "Packets that look like a probe's and answer none of this agent's, by reason.",
)
REJECTED_FEEDBACK: Final = MetricFamily(
    "monlat_rejected_feedback_total",
    "counter",
    "What peers said of this node's probes and was not believed, by reason.",
)
PEER_INFO: Final = MetricFamily(
    "monlat_peer_info", "gauge", "Always 1: the address, the zones and the interface of a measured pair."
)
TIMESTAMP_SOURCE_INFO: Final = MetricFamily(
    "monlat_timestamp_source_info",
    "gauge",
    "Always 1: where the time stamps come from, and why it is not the first choice; an empty reason: it is.",
)
PEERS: Final = MetricFamily("monlat_peers", "gauge", "Peers that this node measures.")
IN_FLIGHT_PROBES: Final = MetricFamily("monlat_in_flight_probes", "gauge", "Probes sent and not decided yet.")
