"""Times in steps of 2^-30 s: near the exact time by exact arithmetic, in order, and with zeros at their end."""

from __future__ import annotations

import struct
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.exposition.binary_time import milliseconds, seconds

NANOSECONDS = st.integers(-(2**40), 2**40)  # 18 minutes, to either side
HALF = Fraction(513, 1024)  # of a step; the product that is rounded is itself a double


@given(nanoseconds=NANOSECONDS)
def test_time_is_within_half_a_step(nanoseconds: int) -> None:
    """Both units, by fractions; 2^-20 ms is a step of the other."""
    assert abs(Fraction(seconds(nanoseconds)) - Fraction(nanoseconds, 10**9)) <= HALF / 2**30
    assert abs(Fraction(milliseconds(nanoseconds)) - Fraction(nanoseconds, 10**6)) <= HALF / 2**20


@given(nanoseconds=NANOSECONDS, more=st.integers(1, 1_000))
def test_times_that_differ_stay_apart_and_in_order(nanoseconds: int, more: int) -> None:
    """A nanosecond is more than a step."""
    assert seconds(nanoseconds) < seconds(nanoseconds + more)
    assert milliseconds(nanoseconds) < milliseconds(nanoseconds + more)


@given(nanoseconds=st.integers(0, 2**64 - 1), more=st.integers(0, 2**40))
def test_long_sums_never_fall(nanoseconds: int, more: int) -> None:
    """A sum in the kernel has 64 bits, more than a double."""
    assert seconds(nanoseconds) <= seconds(nanoseconds + more)


def test_the_last_bytes_of_a_short_time_are_zero() -> None:
    """43.127 us has 16 bits before the step: at least 4 of its 8 bytes are zero, and none as a decimal fraction."""
    assert struct.pack(">d", seconds(43_127))[4:] == bytes(4)
    assert struct.pack(">d", milliseconds(43_127))[4:] == bytes(4)
    assert 0 not in struct.pack(">d", 43_127 / 1e9)
