"""Times in steps of 2^-30 s, 0.93 ns: a double then has zeros where a decimal fraction fills all of its 52 bits. Pure.

A time is known to a nanosecond. As a decimal fraction of a second it is a number whose bits neither gzip nor the
storage of Prometheus can shorten (bench/storage). A step is finer than the nanosecond, so two times that differ stay
apart, and a sum that grows never falls.
"""

from __future__ import annotations

from typing import Final

_STEP_SECONDS: Final = 2.0**-30
_STEPS_A_NANOSECOND: Final = 2**30 / 10**9
_STEP_MILLISECONDS: Final = 2.0**-20
_MILLISECOND_STEPS_A_NANOSECOND: Final = 2**20 / 10**6


def seconds(nanoseconds: float) -> float:
    """Return a time in seconds, rounded to the nearest 2^-30 s."""
    return round(nanoseconds * _STEPS_A_NANOSECOND) * _STEP_SECONDS


def milliseconds(nanoseconds: float) -> float:
    """Return a time in milliseconds, rounded to the nearest 2^-20 ms, 0.95 ns."""
    return round(nanoseconds * _MILLISECOND_STEPS_A_NANOSECOND) * _STEP_MILLISECONDS
