"""Buckets, octaves and quantiles, against exact arithmetic."""

from __future__ import annotations

import math
import struct
from decimal import ROUND_FLOOR, Decimal, localcontext
from fractions import Fraction
from random import Random

import pytest

from monlat_ebpf.abi.histogram import (
    EDGES_NS,
    EMPTY,
    OCTAVE_EDGES,
    bucket_of,
    classic_buckets,
    edge_seconds,
    filled,
    filled_of,
    of_samples,
    quantile,
)
from monlat_ebpf.model import Histogram

LAST = 185  # above 8 s
BUCKET_WIDTH = 2 ** (1 / 8)


def exact_edge_ns(bucket: int) -> int:
    """10^9 * 2^(bucket/8 - 20), rounded down, in decimal arithmetic of 60 digits."""
    with localcontext() as context:
        context.prec = 60
        edge = Decimal(10) ** 9 * Decimal(2) ** (Decimal(bucket) / 8 - 20)
        nearest = edge.to_integral_value()
        if abs(edge - nearest) < Decimal(10) ** -40:  # a whole number, but for the last digits of the power
            return int(nearest)
        return int(edge.to_integral_value(ROUND_FLOOR))


def test_edges_are_exact() -> None:
    """All 185 edges are the exact powers of 2, rounded down to nanoseconds."""
    assert [exact_edge_ns(bucket) for bucket in range(LAST)] == list(EDGES_NS)


def test_octaves_are_exact() -> None:
    """At 2^-20 s to 2^3 s the edge is 10^9 * 2^octave ns, rounded down; 8 s is within the last edge."""
    octaves = [math.floor(Fraction(10) ** 9 * Fraction(2) ** octave) for octave in range(-20, 4)]
    assert list(EDGES_NS[::8]) == octaves
    assert octaves[0] == 953
    assert octaves[-1] == 8_000_000_000
    assert [Fraction(edge) for edge in OCTAVE_EDGES] == [Fraction(2) ** octave for octave in range(-20, 4)]


def test_bucket_holds_its_upper_edge_and_not_its_lower() -> None:
    """One nanosecond past an edge begins the next bucket."""
    for bucket in range(LAST):
        assert bucket_of(exact_edge_ns(bucket)) == bucket
        assert bucket_of(exact_edge_ns(bucket) + 1) == bucket + 1


@pytest.mark.parametrize(
    ("nanoseconds", "bucket"),
    [(0, 0), (1, 0), (953, 0), (954, 1), (8_000_000_000, 184), (8_000_000_001, LAST), (2**63, LAST)],
)
def test_first_and_last_bucket(nanoseconds: int, bucket: int) -> None:
    """Bucket 0 holds all short times, the last one all times over 8 s."""
    assert bucket_of(nanoseconds) == bucket


def test_edge_in_seconds() -> None:
    """Edges are 2^(k/8) seconds; the last bucket has none."""
    assert edge_seconds(0) == 2**-20
    assert edge_seconds(160) == 1
    assert edge_seconds(164) == pytest.approx(math.sqrt(2), rel=1e-15)
    assert edge_seconds(LAST) == math.inf


def test_classic_buckets_are_exact_sums() -> None:
    """Cumulative counts at the 24 octaves, then the total: each sample counts from its octave on."""
    samples = [500, 954, 1907, 1908, 1_000_000_000, 1_000_000_001, 7_999_999_999, 8_000_000_001, 60_000_000_000]
    cumulative = classic_buckets(filled_of(of_samples(samples)))
    assert len(cumulative) == 25
    expected = [sum(Fraction(sample, 10**9) <= Fraction(2) ** octave for sample in samples) for octave in range(-20, 4)]
    assert cumulative == [*expected, 9]
    assert cumulative[:3] == [1, 3, 4]


def test_random_samples_sum_up() -> None:
    """10,007 random samples: every classic bucket has the count that comparing each sample gives."""
    random = Random(1)
    samples = [int(2 ** random.uniform(0, 35)) for _ in range(10_007)]
    histogram = of_samples(samples)
    assert histogram.count == 10_007
    assert histogram.sum_ns == sum(samples)
    expected = [sum(sample * 2**20 <= 10**9 * 2**octave for sample in samples) for octave in range(24)]
    assert classic_buckets(filled_of(histogram)) == [*expected, 10_007]


@pytest.mark.parametrize("q", [0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0])
@pytest.mark.parametrize("spread", [0.01, 0.5, 2.0])
def test_quantile_is_within_a_bucket_of_the_exact_one(q: float, spread: float) -> None:
    """Log-normal samples around 100 us: the quantile is wrong by less than the width of a bucket, 9 %."""
    random = Random(2)
    samples = sorted(int(100_000 * random.lognormvariate(0, spread)) for _ in range(5003))
    samples = [min(max(sample, 954), 8_000_000_000) for sample in samples]
    exact = samples[math.ceil(q * len(samples)) - 1] / 1e9
    estimate = quantile(of_samples(samples), q)
    assert estimate is not None
    assert exact / BUCKET_WIDTH <= estimate <= exact * BUCKET_WIDTH


def test_quantile_within_a_bucket_is_exponential() -> None:
    """Four samples in the bucket up to 1 s: the median is a sixteenth of an octave below the edge."""
    assert quantile(of_samples([1_000_000_000] * 4), 0.5) == pytest.approx(2 ** (-1 / 16), rel=1e-12)
    assert quantile(of_samples([1_000_000_000] * 4), 1) == 1


def test_quantile_at_the_ends() -> None:
    """None if empty; evenly from zero in the first bucket; the lower edge of the last bucket, 8 s."""
    assert quantile(EMPTY, 0.5) is None
    assert quantile(of_samples([1, 2]), 0.5) == 2**-21
    assert quantile(of_samples([9_000_000_000]), 0.5) == 8


def test_quantile_skips_empty_buckets() -> None:
    """1 sample at 1 us and 99 at 1 s: the first percentile is short, the second is long."""
    histogram = of_samples([1_000] + [1_000_000_000] * 99)
    low, high = quantile(histogram, 0.01), quantile(histogram, 0.02)
    assert low is not None
    assert low <= 2 ** (-20 + 1 / 8)
    assert high is not None
    assert high > 2 ** (-1 / 8)


def test_empty_histogram() -> None:
    """186 zeros, and 25 classic ones."""
    assert Histogram((0,) * 186, 0) == EMPTY
    assert classic_buckets(filled_of(EMPTY)) == [0] * 25


def in_memory(counts: dict[int, int], sum_ns: int) -> bytes:
    return struct.pack("<QQ186I", sum(counts.values()), sum_ns, *(counts.get(bucket, 0) for bucket in range(186)))


@pytest.mark.parametrize(
    ("counts", "first", "filled_counts"),
    [
        ({}, 0, ()),
        ({0: 1}, 0, (1,)),
        ({185: 2**32 - 1}, 185, (2**32 - 1,)),
        ({36: 256, 38: 1}, 36, (256, 0, 1)),  # the lowest byte of the first one is 0
        ({36: 2**24, 37: 2**24}, 36, (2**24, 2**24)),
        ({0: 5, 185: 7}, 0, (5, *[0] * 184, 7)),
    ],
)
def test_part_with_samples_is_read_from_memory(
    counts: dict[int, int], first: int, filled_counts: tuple[int, ...]
) -> None:
    """From the first bucket that is not 0 to the last one, wherever their bytes are 0; behind other structs, too."""
    memory = in_memory(counts, 77)
    sum_ns = 77 if counts else 0
    assert filled(memory) == (first, filled_counts, sum_ns)
    assert filled(b"\xff" * 760 + memory + b"\xff" * 16, 760) == (first, filled_counts, sum_ns)
    assert filled_of(Histogram(tuple(counts.get(bucket, 0) for bucket in range(186)), 77)) == filled(memory)
