"""The histogram that the kernel program and Python share: base 2, 8 buckets to the octave.

Bucket edges are 2^(k/8) seconds, the edges of a Prometheus native histogram of schema 3
(https://prometheus.io/docs/specs/native_histograms/). Bucket 0 holds times up to 2^-20 s. Bucket b holds times above
the edge of bucket b - 1, up to and including its own edge 2^(-20 + b/8) s. The last bucket holds times over 8 s.
`bpf/histogram.h` computes the same in C, without a table.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.layout import Record
from monlat_ebpf.model import Histogram

NANOSECONDS_PER_SECOND: Final = 1_000_000_000

EMPTY: Final = Histogram((0,) * layout.BUCKETS, 0)


def from_record(record: Record) -> Histogram:
    """Return the histogram that a `struct histogram` holds."""
    return Histogram(record.buckets, record.sum)


def edge_seconds(bucket: int) -> float:
    """Return the upper edge of `bucket` in seconds; infinity for the last one."""
    if bucket == layout.BUCKETS - 1:
        return math.inf
    return math.exp2(layout.LOWEST_OCTAVE + bucket / layout.BUCKETS_PER_OCTAVE)


def _whole_nanoseconds(bucket: int) -> int:
    """Return the longest whole number of nanoseconds within the upper edge of `bucket`, exactly.

    That is the greatest n with n <= 10^9 * 2^(k/8), hence n^8 <= 10^72 * 2^k. Only integers are used, because a
    rounded edge would put a sample on that edge into the wrong bucket.
    """
    power = layout.BUCKETS_PER_OCTAVE
    exponent = power * layout.LOWEST_OCTAVE + bucket
    numerator = NANOSECONDS_PER_SECOND**power << max(exponent, 0)
    denominator = 1 << max(-exponent, 0)
    low, high = 0, 1 << 64
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**power * denominator <= numerator else (low, middle)
    return low


EDGES_NS: Final = tuple(_whole_nanoseconds(bucket) for bucket in range(layout.BUCKETS - 1))
"""The upper edge of every bucket but the last, rounded down to whole nanoseconds."""

OCTAVE_EDGES: Final = tuple(2.0**octave for octave in range(layout.LOWEST_OCTAVE, layout.HIGHEST_OCTAVE + 1))
"""The upper edges, in seconds, of the classic buckets below +Inf; each is exact in binary."""


def bucket_of(nanoseconds: int) -> int:
    """Return the index of the bucket that holds `nanoseconds`."""
    return bisect_left(EDGES_NS, nanoseconds)


class Filled(NamedTuple):
    """The part of a histogram that has samples: bucket `first` and those after it, up to the last that is not 0.

    `counts` is empty if there is no sample. `sum_ns` is the sum of the samples in nanoseconds.
    """

    first: int
    counts: tuple[int, ...]
    sum_ns: int


NOTHING: Final = Filled(0, (), 0)
SIZE: Final = layout.HISTOGRAM.size
"""Bytes of a `struct histogram`."""

_SUM_AT: Final = layout.HISTOGRAM.offset("sum")
_BUCKETS_AT: Final = layout.HISTOGRAM.offset("buckets")
_BUCKET: Final = layout.HISTOGRAM.members["buckets"].format[-1]
_BUCKET_BITS: Final = 8 * struct.calcsize(f"<{_BUCKET}")
_SUM: Final = struct.Struct(f"<{layout.HISTOGRAM.members['sum'].format}")
_NO_COUNTS: Final = bytes(SIZE - _BUCKETS_AT)
_COUNTS: Final = tuple(struct.Struct(f"<{count}{_BUCKET}") for count in range(layout.BUCKETS + 1))


def filled(memory: bytes, at: int = 0) -> Filled:
    """Return what the `struct histogram` at byte `at` of `memory` holds.

    Most of the 186 buckets are 0. Read as one large number, the lowest and the highest bit that is set tell where the
    others begin and end: a third of the time that stripping the zeros as bytes takes.
    """
    buckets = memory[at + _BUCKETS_AT : at + SIZE]
    if buckets == _NO_COUNTS:
        return NOTHING
    bits = int.from_bytes(buckets, "little")
    first = ((bits & -bits).bit_length() - 1) // _BUCKET_BITS
    end = -(-bits.bit_length() // _BUCKET_BITS)
    counts = _COUNTS[end - first].unpack_from(buckets, first * _BUCKET_BITS // 8)
    return Filled(first, counts, _SUM.unpack_from(memory, at + _SUM_AT)[0])


def filled_of(histogram: Histogram) -> Filled:
    """Return the same of a Histogram."""
    return filled_from(histogram.buckets, histogram.sum_ns)


def filled_from(buckets: Sequence[int], sum_ns: int) -> Filled:
    """Return the same of the counts of all buckets and the sum of the samples."""
    numbers = [bucket for bucket, count in enumerate(buckets) if count]
    if not numbers:
        return NOTHING
    return Filled(numbers[0], tuple(buckets[numbers[0] : numbers[-1] + 1]), sum_ns)


def classic_buckets(histogram: Filled) -> list[int]:
    """Return the cumulative counts at OCTAVE_EDGES and at +Inf: exact sums of the buckets."""
    cumulative = list(accumulate(histogram.counts)) or [0]
    below = -(-histogram.first // layout.BUCKETS_PER_OCTAVE)  # edges without a sample up to them
    inside = cumulative[below * layout.BUCKETS_PER_OCTAVE - histogram.first :: layout.BUCKETS_PER_OCTAVE]
    return [0] * below + inside + cumulative[-1:] * (len(OCTAVE_EDGES) + 1 - below - len(inside))


def quantile(histogram: Histogram, q: float) -> float | None:
    """Return the q-quantile in seconds, None if the histogram is empty.

    Assume that the samples of a bucket are spread exponentially, as Prometheus does for native histograms; in the
    first bucket evenly from zero. For the last bucket, which has no upper edge, return its lower edge.
    """
    total = histogram.count
    if total == 0:
        return None
    rank = q * total
    below = 0
    for bucket, count in enumerate(histogram.buckets):
        if count and below + count >= rank:
            return _interpolate(bucket, max(rank - below, 0) / count)
        below += count
    return edge_seconds(layout.BUCKETS - 2)


def _interpolate(bucket: int, fraction: float) -> float:
    if bucket == 0:
        return edge_seconds(0) * fraction
    lower = edge_seconds(bucket - 1)
    if bucket == layout.BUCKETS - 1:
        return lower
    return lower * math.pow(edge_seconds(bucket) / lower, fraction)


def count_into(counts: list[int], edges_ns: Sequence[int], samples_ns: Sequence[int]) -> None:
    """Count `samples_ns` into `counts`, whose buckets have these upper edges, inclusive, and a last one without.

    Samples that are near each other, as those of a tick are, take a few searches together.
    """
    ordered = sorted(samples_ns)
    begin = 0
    while begin < len(ordered):
        bucket = bisect_left(edges_ns, ordered[begin])
        end = bisect_right(ordered, edges_ns[bucket], begin) if bucket < len(edges_ns) else len(ordered)
        counts[bucket] += end - begin
        begin = end


def of_samples(samples_ns: Sequence[int]) -> Histogram:
    """Return the histogram of `samples_ns`, nanoseconds each."""
    buckets = [0] * layout.BUCKETS
    for sample in samples_ns:
        buckets[bucket_of(sample)] += 1
    return Histogram(tuple(buckets), sum(samples_ns))
