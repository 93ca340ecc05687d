"""The samples that are of the agent, not of a pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from monlat_ebpf.abi.histogram import NOTHING, Filled, filled_of
from monlat_ebpf.exposition import families
from monlat_ebpf.exposition.encoding import Encoder, Labels
from monlat_ebpf.exposition.families import MetricFamily
from monlat_ebpf.model import AgentSnapshot, Family


def zone_samples(
    encoder: Encoder, agent: AgentSnapshot, histograms: Iterable[tuple[MetricFamily, str, str, Filled]]
) -> Iterator[tuple[MetricFamily, bytes]]:
    """Yield the histograms of all peers of a zone: family of metrics, that zone, family of addresses, histogram."""
    for family, to_zone, address_family, histogram in histograms:
        labels = (("from", agent.node), ("from_zone", agent.zone), ("to_zone", to_zone), ("family", address_family))
        yield family, encoder.histogram(family, labels, histogram, agent.created_unix_seconds)


def agent_samples(
    encoder: Encoder, agent: AgentSnapshot, peers: int, in_flight: int
) -> Iterator[tuple[MetricFamily, bytes]]:
    """Yield the samples; `peers` and `in_flight` are the sums over the pairs of the same scrape."""
    since = agent.created_unix_seconds

    def sample(family: MetricFamily, value: float, *labels: tuple[str, str]) -> tuple[MetricFamily, bytes]:
        return family, encoder.sample(family, labels, value, since)

    send_delay = filled_of(agent.send_delay) if agent.send_delay else NOTHING
    no_labels: Labels = ()
    yield families.SEND_DELAY, encoder.histogram(families.SEND_DELAY, no_labels, send_delay, since)
    for kind, count in sorted(agent.probe_errors.items()):
        yield sample(families.PROBE_ERRORS, count, ("kind", kind))
    yield sample(families.SKIPPED_PROBES, agent.skipped_probes)
    for family in Family:
        yield sample(families.UNLISTED_SOURCE_PROBES, agent.unlisted_sources.get(family, 0), ("family", family))
    for (device, by), count in sorted(agent.reply_stamps.items()):
        yield sample(families.REPLY_STAMPS, count, ("device", device), ("by", by))
    for reason, count in sorted(agent.unmatched_packets.items()):
        yield sample(families.UNMATCHED_PACKETS, count, ("reason", reason))
    for reason, count in sorted((agent.rejected_feedback or {}).items()):
        yield sample(families.REJECTED_FEEDBACK, count, ("reason", reason))
    yield sample(families.TIMESTAMP_SOURCE_INFO, 1, ("source", agent.source), ("reason", agent.source_reason))
    yield sample(families.PEERS, peers)
    yield sample(families.IN_FLIGHT_PROBES, in_flight)
