"""The Prometheus text format, version 0.0.4, of an AgentSnapshot.

Made for 5,000 peers in a small process. The labels of a pair do not change, so they are kept as bytes between
scrapes, and a scrape formats only numbers. The text is sent in chunks and is never whole in memory.
Format: https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND, OCTAVE_EDGES, classic_buckets
from monlat_ebpf.exposition import families
from monlat_ebpf.exposition.chunks import in_chunks
from monlat_ebpf.exposition.families import MetricFamily
from monlat_ebpf.model import AgentSnapshot, ClockOffset, Family, Histogram, PairSnapshot, Queueing, Result

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

_LABELS: Final = b"@"  # placeholder for a pair's labels in the lines of a histogram; these have no other @


def label_text(labels: Iterable[tuple[str, str]]) -> bytes:
    """Return `name="value",…` with escaped values. A lone surrogate becomes a question mark."""
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels).encode(errors="replace")


@dataclass(frozen=True, slots=True)
class _PairLabels:
    """The label sets of a pair as text: the two nodes; nodes and family; those of the info metrics.

    `device` is empty until a driver had a probe. It is not in `info`, whose series exists before.
    """

    nodes: bytes
    family: bytes
    info: bytes
    device: bytes

    @classmethod
    def of(cls, snapshot: AgentSnapshot, pair: PairSnapshot) -> _PairLabels:
        nodes = (("from", snapshot.node), ("to", pair.to))
        family = (*nodes, ("family", str(pair.family)))
        info = (
            *family,
            ("address", str(pair.address)),
            ("from_zone", snapshot.zone),
            ("to_zone", pair.to_zone),
            ("kind", str(pair.kind)),
        )
        device = label_text((*family, ("device", pair.device))) if pair.device else b""
        return cls(label_text(nodes), label_text(family), label_text(info), device)


_Rows = list[tuple[_PairLabels, PairSnapshot]]


class TextExposition:
    """Renders snapshots, and keeps the labels of the last one's pairs."""

    def __init__(self) -> None:
        self._labels: dict[tuple[object, ...], _PairLabels] = {}

    def render(self, snapshot: AgentSnapshot) -> Iterator[bytes]:
        """Yield the text in chunks. Several threads may render at the same time."""
        return in_chunks(_lines(snapshot, self._rows(snapshot)))

    def _rows(self, snapshot: AgentSnapshot) -> _Rows:
        known = self._labels
        current: dict[tuple[object, ...], _PairLabels] = {}
        rows: _Rows = []
        for pair in snapshot.pairs:
            key = (
                snapshot.node,
                snapshot.zone,
                pair.to,
                pair.family,
                pair.address,
                pair.to_zone,
                pair.device,
                pair.kind,
            )
            labels = current[key] = known.get(key) or _PairLabels.of(snapshot, pair)
            rows.append((labels, pair))
        self._labels = current
        return rows


def _lines(snapshot: AgentSnapshot, rows: _Rows) -> Iterator[bytes]:
    yield _header(families.LATENCY_BETWEEN_NODES)
    yield from _latency_lines(rows)
    yield from _histogram_lines(families.RTT, [(labels.family, pair.rtt) for labels, pair in rows])
    yield from _histogram_lines(families.NETWORK_RTT, [(labels.family, pair.network_rtt) for labels, pair in rows])
    yield from _histogram_lines(families.DWELL, [(labels.family, pair.dwell) for labels, pair in rows])
    yield from _histogram_lines(families.SEND_DELAY, [(b"", snapshot.send_delay)])
    yield from _one_way_lines(rows)
    yield _header(families.PROBES_SENT)
    for labels, pair in rows:
        yield b"monlat_probes_sent_total{%b} %d\n" % (labels.family, pair.sent)
    yield _header(families.PROBE_RESULTS)
    yield from _result_lines(rows)
    yield _header(families.LATE_REPLIES)
    for labels, pair in rows:
        yield b"monlat_late_replies_total{%b} %d\n" % (labels.family, pair.late)
    yield _header(families.DUPLICATE_REPLIES)
    for labels, pair in rows:
        yield b"monlat_duplicate_replies_total{%b} %d\n" % (labels.family, pair.duplicates)
    yield _header(families.PROBE_ERRORS)
    for kind, count in sorted(snapshot.probe_errors.items()):
        yield b"monlat_probe_errors_total{%b} %d\n" % (label_text([("kind", kind)]), count)
    yield _header(families.SKIPPED_PROBES)
    yield b"monlat_skipped_probes_total %d\n" % snapshot.skipped_probes
    yield _header(families.UNLISTED_SOURCE_PROBES)
    for family in Family:
        count = snapshot.unlisted_sources.get(family, 0)
        yield b"monlat_unlisted_source_probes_total{%b} %d\n" % (label_text([("family", family)]), count)
    yield _header(families.REPLY_STAMPS)
    for (device, by), count in sorted(snapshot.reply_stamps.items()):
        yield b"monlat_reply_stamps_total{%b} %d\n" % (label_text([("device", device), ("by", by)]), count)
    yield _header(families.UNMATCHED_PACKETS)
    for reason, count in sorted(snapshot.unmatched_packets.items()):
        yield b"monlat_unmatched_packets_total{%b} %d\n" % (label_text([("reason", reason)]), count)
    yield _header(families.REJECTED_FEEDBACK)
    for reason, count in sorted((snapshot.rejected_feedback or {}).items()):
        yield b"monlat_rejected_feedback_total{%b} %d\n" % (label_text([("reason", reason)]), count)
    yield _header(families.PEER_INFO)
    for labels, _ in rows:
        yield b"monlat_peer_info{%b} 1\n" % labels.info
    yield _header(families.PEER_DEVICE_INFO)
    for labels, _ in rows:
        if labels.device:
            yield b"monlat_peer_device_info{%b} 1\n" % labels.device
    yield _header(families.TIMESTAMP_SOURCE_INFO)
    source = label_text([("source", snapshot.source), ("reason", snapshot.source_reason)])
    yield b"monlat_timestamp_source_info{%b} 1\n" % source
    yield _header(families.PEERS)
    yield b"monlat_peers %d\n" % len({pair.to for pair in snapshot.pairs})
    yield _header(families.IN_FLIGHT_PROBES)
    yield b"monlat_in_flight_probes %d\n" % sum(pair.in_flight for pair in snapshot.pairs)


def _header(family: MetricFamily) -> bytes:
    return f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n".encode()


def _histogram_lines(family: MetricFamily, rows: Iterable[tuple[bytes, Histogram | None]]) -> Iterator[bytes]:
    """Yield the classic buckets, sum and count of each histogram, with its labels."""
    yield _header(family)
    name = family.name.encode()
    template = b"".join(
        (
            *(b'%b_bucket{@,le="%r"} %%d\n' % (name, edge) for edge in OCTAVE_EDGES),
            b'%b_bucket{@,le="+Inf"} %%d\n' % name,
            b"%b_sum{@} %%r\n" % name,
            b"%b_count{@} %%d\n" % name,
        )
    )
    for labels, histogram in rows:
        if histogram is not None:
            cumulative = classic_buckets(histogram)
            numbers = (*cumulative, histogram.sum_ns / NANOSECONDS_PER_SECOND, cumulative[-1])
            lines = template % numbers
            yield lines.replace(_LABELS, labels) if labels else lines.replace(b"{@}", b"").replace(b"@,", b"")


def _one_way_lines(rows: _Rows) -> Iterator[bytes]:
    """Yield the gauges of each peer, from the first of its address families that has a value."""
    offsets: dict[str, tuple[bytes, ClockOffset]] = {}
    queues: dict[str, tuple[bytes, Queueing]] = {}
    for labels, pair in rows:
        if pair.clock_offset is not None:
            offsets.setdefault(pair.to, (labels.nodes, pair.clock_offset))
        if pair.queueing is not None:
            queues.setdefault(pair.to, (labels.nodes, pair.queueing))
    yield _header(families.CLOCK_OFFSET)
    for nodes, offset in offsets.values():
        yield b"monlat_clock_offset_seconds{%b} %r\n" % (nodes, offset.offset_ns / NANOSECONDS_PER_SECOND)
    yield _header(families.CLOCK_OFFSET_ERROR)
    for nodes, offset in offsets.values():
        yield b"monlat_clock_offset_error_seconds{%b} %r\n" % (nodes, offset.error_ns / NANOSECONDS_PER_SECOND)
    yield _header(families.QUEUEING)
    for nodes, queue in queues.values():
        for direction, nanoseconds in ((b"forward", queue.forward_ns), (b"return", queue.return_ns)):
            seconds = nanoseconds / NANOSECONDS_PER_SECOND
            yield b'monlat_queueing_seconds{%b,direction="%b"} %r\n' % (nodes, direction, seconds)


def _latency_lines(rows: _Rows) -> Iterator[bytes]:
    """Yield a line for each peer that answers, from the first of its address families that does."""
    shown: set[str] = set()
    for labels, pair in rows:
        if pair.last_rtt_ns is not None and pair.to not in shown:
            shown.add(pair.to)
            milliseconds = pair.last_rtt_ns / 1e6
            yield b"latency_between_nodes{%b} %r\n" % (labels.nodes, milliseconds)


def _result_lines(rows: _Rows) -> Iterator[bytes]:
    template = b"".join(b'monlat_probe_results_total{%%b,result="%b"} %%d\n' % result.encode() for result in Result)
    results = tuple(Result)
    for labels, pair in rows:
        numbers: list[bytes | int] = []
        for result in results:
            numbers += (labels.family, pair.results.get(result, 0))
        yield template % tuple(numbers)
