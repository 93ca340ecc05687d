"""A native histogram of Prometheus from the kernel program's buckets, without conversion. Pure.

Bucket b of the kernel program ends at 2^(-20 + b/8) s. That is the bucket of schema 3 with index b - 160, so its count
is sent as it is (https://prometheus.io/docs/specs/native_histograms/). Bucket 0 holds all up to 2^-20 s: it is the zero
bucket. The last one holds all over 8 s. It is sent as if it ended an eighth of an octave later, because a native
histogram has no bucket without an end that queries could use; timeouts end at 8 s, so a measured RTT is never in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from operator import sub
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.histogram import OCTAVE_EDGES, Filled, classic_buckets
from monlat_ebpf.exposition.binary_time import seconds
from monlat_ebpf.exposition.wire import (
    bytes_field,
    bytes_tag,
    double,
    double_tag,
    signed_field,
    varint,
    varint_field,
    zigzag,
)

SCHEMA: Final = layout.BUCKETS_PER_OCTAVE.bit_length() - 1
INDEX_OF_BUCKET_0: Final = layout.LOWEST_OCTAVE * layout.BUCKETS_PER_OCTAVE

_SAMPLE_COUNT, _SAMPLE_SUM, _BUCKET, _SCHEMA, _ZERO_THRESHOLD, _ZERO_COUNT, _POSITIVE_SPAN, _POSITIVE_DELTA = (
    1, 2, 3, 5, 6, 7, 12, 13,
)  # fields of Histogram  # fmt: skip

_COUNT_TAG: Final = varint(_SAMPLE_COUNT << 3)
_SUM_TAG: Final = double_tag(_SAMPLE_SUM)
_UPPER_BOUNDS: Final = tuple(double_tag(2) + double(edge) for edge in OCTAVE_EDGES)  # field of Bucket
_FORM: Final = signed_field(_SCHEMA, SCHEMA) + double_tag(_ZERO_THRESHOLD) + double(2.0**layout.LOWEST_OCTAVE)
"""Makes a histogram without a sample a native one, too."""

_EMPTY: Final = varint_field(_SAMPLE_COUNT, 0) + _SUM_TAG + double(0.0) + _FORM
_LONGEST_GAP: Final = 2
"""Zeros in a row that are sent as buckets, as client_golang does: a span is as long as two of them."""

_TABLE: Final = 4096  # differences up to this one, in either direction, have their bytes in a table: 0.4 MB


def native_histogram(histogram: Filled) -> bytes:
    """Return the message Histogram, without the time since when it counts."""
    first, counts, sum_ns = histogram
    if not counts:
        return _EMPTY
    total = sum(counts)
    zero = b""
    if first == 0:
        zero = varint_field(_ZERO_COUNT, counts[0])
        first, counts = 1, counts[1:]
    spans, present = _spans(first + INDEX_OF_BUCKET_0, counts)
    total_bytes = _COUNT_TAG + varint(total)
    sum_bytes = double(seconds(sum_ns))
    if not present:
        return b"".join((total_bytes, _SUM_TAG, sum_bytes, _FORM, zero))
    deltas = _deltas(present)
    return b"".join((total_bytes, _SUM_TAG, sum_bytes, _FORM, zero, spans, _deltas_tag(len(deltas)), deltas))


def classic_buckets_of(histogram: Filled) -> bytes:
    """Return the fields of classic buckets, at octaves, to go with the same histogram as a native one.

    The last one, to infinity, is left out, as the definition of the message allows: its count is that of all samples.
    """
    counts = classic_buckets(histogram)[:-1]
    return b"".join(
        [
            bytes_field(_BUCKET, varint_field(1, count) + bound)
            for count, bound in zip(counts, _UPPER_BOUNDS, strict=True)
        ]
    )


def _spans(index: int, counts: Sequence[int]) -> tuple[bytes, Sequence[int]]:
    """Return the spans of buckets from `index` on, and the counts of the buckets in them.

    The offset of a span is its distance from the end of the one before; that of the first is its index.
    """
    if 0 not in counts:
        return (_span(index, len(counts)), counts) if counts else (b"", counts)
    spans: list[bytes] = []
    present: list[int] = []
    start = end = 0  # of the present span; its offset is `start` plus `offset`
    offset = index
    for position, count in enumerate(counts):
        if not count:
            continue
        if position - end > _LONGEST_GAP or not present:
            if end > start:
                spans.append(_span(start + offset, end - start))
                offset = -end
            start = position
        present += counts[max(start, end) : position + 1]
        end = position + 1
    spans.append(_span(start + offset, end - start))
    return b"".join(spans), present


@lru_cache(1024)
def _span(offset: int, length: int) -> bytes:
    return bytes_field(_POSITIVE_SPAN, signed_field(1, offset) + varint_field(2, length))


@lru_cache(1024)
def _deltas_tag(length: int) -> bytes:
    return bytes_tag(_POSITIVE_DELTA, length)


def _deltas(counts: Sequence[int]) -> bytes:
    """Return the difference of each count to the one before, as packed sint64."""
    table = _table()
    differences = map(sub, counts, (0, *counts))
    if max(counts) < _TABLE:
        return b"".join(map(table.__getitem__, differences))
    return b"".join([table[each] if -_TABLE < each < _TABLE else varint(zigzag(each)) for each in differences])


@cache
def _table() -> list[bytes]:
    """Return the bytes of each difference; a negative one finds its own from the end, as Python counts."""
    return [varint(zigzag(each)) for each in (*range(_TABLE), *range(-_TABLE, 0))]
