"""How long to wait before the next request. Pure: the caller passes the clock and the random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

_MOST_DOUBLINGS: Final = 32
"""Enough for any cap, and no overflow after a year of failures."""


class Backoff:
    """Exponential back-off with full jitter: each wait is random, from 0 to a ceiling that doubles up to `cap` seconds.

    Full jitter spreads agents that failed together over the whole ceiling
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    def __init__(self, base: float, cap: float, draw: Callable[[float, float], float] = random.uniform) -> None:
        self._base = base
        self._cap = cap
        self._draw = draw
        self._failures = 0

    def next_delay(self, at_least: float = 0.0) -> float:
        """Count a failure and return the seconds to wait: `at_least`, plus the jitter."""
        ceiling = min(self._cap, self._base * 2 ** min(self._failures, _MOST_DOUBLINGS))
        self._failures += 1
        return at_least + self._draw(0.0, ceiling)

    def reset(self) -> None:
        """Start again at the base, after a success."""
        self._failures = 0


class RateLimiter:
    """Allows at most `burst + seconds x per_second` requests in any period (generic cell rate algorithm).

    Back-off alone does not limit everything: a list whose pages never end is no failure, and neither are failures
    that alternate with successes.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = 1 / per_second
        self._tolerance = (burst - 1) * self._interval
        self._reserved_until = float("-inf")

    def take(self, now: float) -> float:
        """Reserve one request at `now` (seconds of any steady clock) and return how many seconds it must wait."""
        self._reserved_until = max(self._reserved_until, now)
        wait = max(0.0, self._reserved_until - self._tolerance - now)
        self._reserved_until += self._interval
        return wait
