"""The protobuf format of Prometheus, with native histograms straight from the kernel program's buckets.

A body is a row of messages `io.prometheus.client.MetricFamily`, each after its length. Their definition:
https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto

Classic buckets come beside the native ones only if the scraper asks for them (routes.py): a Prometheus that stores
native histograms ignores them, unless it is told to store both, and they would be most of the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from monlat_ebpf.abi.histogram import Filled
from monlat_ebpf.exposition import binary_time
from monlat_ebpf.exposition.encoding import NEVER, HistogramRow, Labels, Row
from monlat_ebpf.exposition.families import MetricFamily
from monlat_ebpf.exposition.native_histogram import classic_buckets_of, native_histogram
from monlat_ebpf.exposition.wire import bytes_field, bytes_tag, double, double_tag, padded_varint, varint, varint_field

CONTENT_TYPE: Final = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

TYPES: Final = {"counter": 0, "gauge": 1, "summary": 2, "unknown": 3, "histogram": 4}
"""The values of the enum MetricType."""

METRIC: Final = 4
"""The field of MetricFamily."""

VALUE_FIELDS: Final = {"counter": 3, "gauge": 2, "summary": 4, "unknown": 5, "histogram": 7}
"""The field of Metric that holds the value, by type."""

_CREATED_OF_COUNTER: Final = 3
_CREATED_OF_HISTOGRAM: Final = 15
_DOUBLE: Final = 9  # bytes, with its tag
_CREATED: Final = 8  # bytes, with its tag


def label_fields(labels: Labels) -> bytes:
    """Return the labels of a Metric. A lone surrogate becomes a question mark."""
    pairs = ((name.encode(errors="replace"), value.encode(errors="replace")) for name, value in labels)
    return b"".join(bytes_field(1, bytes_field(1, name) + bytes_field(2, value)) for name, value in pairs)


def family_header(name: str, help_text: str, kind: str, length: int) -> bytes:
    """Return a MetricFamily with its length, up to its metrics, which are `length` bytes together."""
    about = bytes_field(1, name.encode()) + bytes_field(2, help_text.encode()) + varint_field(3, TYPES[kind])
    return varint(len(about) + length) + about


class _Template(dict[int, bytes]):
    """A counter or gauge, with gaps for `to`, further labels, the number, and since when it counts.

    There is one for each number of bytes that the labels of a row have, because lengths stand before contents.
    """

    def __init__(self, kind: str, labels: Labels) -> None:
        self._labels = label_fields(labels)
        length = _DOUBLE + (_CREATED if kind == "counter" else 0)
        self._value = bytes_tag(VALUE_FIELDS[kind], length) + double_tag(1)
        self._length = len(self._labels) + len(self._value) - 1 + length

    def __missing__(self, row_labels: int) -> bytes:
        before = bytes_tag(METRIC, self._length + row_labels) + self._labels
        template = self[row_labels] = b"%b%%b%%b%b%%b%%b" % (_literal(before), _literal(self._value))
        return template


def _literal(part: bytes) -> bytes:
    return part.replace(b"%", b"%%")


class _Created(dict[int, bytes]):
    """The field of a Timestamp by seconds since 1970; always of the same length."""

    def __init__(self, field: int) -> None:
        self._field = field

    def __missing__(self, created_seconds: int) -> bytes:
        seconds = b"\x08" + padded_varint(max(created_seconds, 0), 5)
        created = self[created_seconds] = b"" if created_seconds == NEVER else bytes_field(self._field, seconds)
        return created


class ProtobufEncoder:
    """Writes messages; `has_classic` adds the classic buckets to the native histograms."""

    def __init__(self, *, has_classic: bool = False) -> None:
        self._has_classic = has_classic
        self._counter_created = _Created(_CREATED_OF_COUNTER)
        self._histogram_created = _Created(_CREATED_OF_HISTOGRAM)
        self._metric_tags = _Tags(METRIC)
        self._histogram_tags = _Tags(VALUE_FIELDS["histogram"])

    def seconds(self, nanoseconds: float) -> float:
        """Return a multiple of 2^-30 s: its bytes can be compressed."""
        return binary_time.seconds(nanoseconds)

    def milliseconds(self, nanoseconds: float) -> float:
        """Return a multiple of 2^-20 ms."""
        return binary_time.milliseconds(nanoseconds)

    def name(self, peer: str) -> bytes:
        """Return the label `to`."""
        return label_fields([("to", peer)])

    def after(self, labels: Labels) -> bytes:
        """Return the labels."""
        return label_fields(labels)

    def template(self, family: MetricFamily, labels: Labels) -> _Template | bytes:
        """Return the series without what a row fills in; of a histogram only the labels."""
        return label_fields(labels) if family.kind == "histogram" else _Template(family.kind, labels)

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return a Metric for each."""
        created = self._counter_created
        return b"".join(
            [
                template[len(name) + len(after)] % (name, after, double(value), created[since])
                for template, name, value, since, after in rows
            ]
        )

    def histograms(self, rows: Iterable[HistogramRow]) -> bytes:
        """Return a Metric for each."""
        metrics: list[bytes] = []
        metric_tags, histogram_tags, created_of = self._metric_tags, self._histogram_tags, self._histogram_created
        for labels, name, histogram, since in rows:
            content = native_histogram(histogram)
            if self._has_classic:
                content += classic_buckets_of(histogram)
            created = created_of[since]
            tag = histogram_tags[len(content) + len(created)]
            length = len(labels) + len(name) + len(tag) + len(content) + len(created)
            metrics += (metric_tags[length], labels, name, tag, content, created)
        return b"".join(metrics)

    def sample(self, family: MetricFamily, labels: Labels, value: float, created_seconds: int) -> bytes:
        """Return one Metric."""
        since = created_seconds if family.kind == "counter" else NEVER
        return self.rows([(_Template(family.kind, labels), b"", value, since, b"")])

    def histogram(self, family: MetricFamily, labels: Labels, histogram: Filled, created_seconds: int) -> bytes:
        """Return one Metric."""
        return self.histograms([(label_fields(labels), b"", histogram, created_seconds)])

    def header(self, family: MetricFamily, length: int) -> bytes:
        """Return a MetricFamily up to its metrics."""
        return family_header(family.name, family.help, family.kind, length)


class _Tags(dict[int, bytes]):
    """What stands before the content of a field, by its length."""

    def __init__(self, field: int) -> None:
        self._field = field

    def __missing__(self, length: int) -> bytes:
        tag = self[length] = bytes_tag(self._field, length)
        return tag
