"""The text formats: Prometheus' 0.0.4, and OpenMetrics 1.0.

They differ in the names of counters in the comments, and in the end of the document. Neither has native histograms:
those are served as classic ones, with buckets at octaves.

OpenMetrics 1.0 could say since when a counter counts, in a series `_created` for each. Prometheus stores these like any
other series, which would be 13 more for each pair; so they are left out, as prometheus_client's are here. The protobuf
format has a field for it, and OpenMetrics 2.0 a part of the line.
Formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND, OCTAVE_EDGES, Filled, classic_buckets
from monlat_ebpf.exposition.encoding import HistogramRow, Labels, Row
from monlat_ebpf.exposition.families import MetricFamily

CLASSIC_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_NAME: Final = b"\xff"  # where a peer's name goes in a histogram; UTF-8 has no such byte
_NANOSECONDS_PER_MILLISECOND: Final = 1e6
_EDGES: Final = (*(repr(edge) for edge in OCTAVE_EDGES), "+Inf")


def label_text(labels: Labels) -> bytes:
    """Return `name="value",…` with escaped values. A lone surrogate becomes a question mark."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels).encode(errors="replace")


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES)


def _literal(part: bytes) -> bytes:
    return part.replace(b"%", b"%%")


class TextEncoder:
    """Writes text; `is_openmetrics` says which one."""

    def __init__(self, *, is_openmetrics: bool) -> None:
        self._is_openmetrics = is_openmetrics

    def seconds(self, nanoseconds: float) -> float:
        """Return the decimal fraction: its text is short."""
        return nanoseconds / NANOSECONDS_PER_SECOND

    def milliseconds(self, nanoseconds: float) -> float:
        """Return the decimal fraction."""
        return nanoseconds / _NANOSECONDS_PER_MILLISECOND

    def name(self, peer: str) -> bytes:
        """Return the escaped name."""
        return _escaped(peer).encode(errors="replace")

    def after(self, labels: Labels) -> bytes:
        """Return the labels, each with a comma before it."""
        return b"," + label_text(labels)

    def template(self, family: MetricFamily, labels: Labels) -> bytes:
        """Return a line, or for a histogram all its lines, with a gap for each number."""
        fixed = _literal(label_text(labels))
        if family.kind == "histogram":
            return _histogram_template(family, fixed + b',to="' + _NAME + b'"')
        number = b"%d" if family.kind == "counter" else b"%a"
        return b'%b{%b,to="%%b"%%b} %b\n' % (family.name.encode(), fixed, number)

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return a line for each."""
        return b"".join([template % (name, after, value) for template, name, value, _, after in rows])

    def histograms(self, rows: Iterable[HistogramRow]) -> bytes:
        """Return 27 lines for each: 25 buckets, sum and count."""
        return b"".join(
            [(template % _numbers(histogram)).replace(_NAME, name) for template, name, histogram, _ in rows]
        )

    def sample(self, family: MetricFamily, labels: Labels, value: float, created_seconds: int) -> bytes:
        """Return one line."""
        shown = b"{%b}" % label_text(labels) if labels else b""
        return b"%b%b %a\n" % (family.name.encode(), shown, value)

    def histogram(self, family: MetricFamily, labels: Labels, histogram: Filled, created_seconds: int) -> bytes:
        """Return 27 lines."""
        return _histogram_template(family, _literal(label_text(labels))) % _numbers(histogram)

    def header(self, family: MetricFamily, length: int) -> bytes:
        """Return the lines with help text and type. OpenMetrics names a counter without the ending of its series."""
        name = family.name
        if self._is_openmetrics and family.kind == "counter":
            name = name.removesuffix("_total")
        return f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n".encode()


def _numbers(histogram: Filled) -> tuple[float, ...]:
    buckets = classic_buckets(histogram)
    return (*buckets, histogram.sum_ns / NANOSECONDS_PER_SECOND, buckets[-1])


def _histogram_template(family: MetricFamily, labels: bytes) -> bytes:
    name = family.name.encode()
    before = labels + b"," if labels else b""
    shown = b"{%b}" % labels if labels else b""
    return b"".join(
        (
            *(b'%b_bucket{%ble="%b"} %%d\n' % (name, before, edge.encode()) for edge in _EDGES),
            b"%b_sum%b %%a\n%b_count%b %%d\n" % (name, shown, name, shown),
        )
    )
