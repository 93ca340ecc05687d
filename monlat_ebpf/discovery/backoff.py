"""How long to wait before asking again: pure, the clock and the dice are handed in."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_MOST_DOUBLINGS: Final = 32
"""Enough for any cap, and no overflow after a year of failures."""

LONGEST_RETRY_AFTER: Final = 300.0
"""Seconds; a server that asks for more is asked again after this, lest a slip of its own silence us for a day."""


class Backoff:
    """Exponential back-off with full jitter: each wait is drawn from 0 to a ceiling that doubles up to `cap` seconds.

    Full jitter spreads agents that failed together over the whole ceiling
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    def __init__(self, base: float, cap: float, draw: Callable[[float, float], float] = random.uniform) -> None:
        self._base = base
        self._cap = cap
        self._draw = draw
        self._failures = 0

    def next_delay(self, at_least: float = 0.0) -> float:
        """Count a failure and return the seconds to wait; the jitter comes on top of `at_least`."""
        ceiling = min(self._cap, self._base * 2 ** min(self._failures, _MOST_DOUBLINGS))
        self._failures += 1
        return at_least + self._draw(0.0, ceiling)

    def reset(self) -> None:
        """Begin anew: what was asked for works."""
        self._failures = 0


class RateLimiter:
    """At most `burst + seconds x per_second` requests in any stretch of time.

    This is the generic cell rate algorithm. It holds where back-off does not bind: a list whose pages never end,
    failures that take turns with successes.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = 1 / per_second
        self._tolerance = (burst - 1) * self._interval
        self._earned = float("-inf")

    def take(self, now: float) -> float:
        """Book one request at `now`, in seconds of any steady clock, and return how long it must wait."""
        self._earned = max(self._earned, now)
        wait = max(0.0, self._earned - self._tolerance - now)
        self._earned += self._interval
        return wait


def parse_retry_after(text: str | None, now: datetime) -> float:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3): 0 to LONGEST_RETRY_AFTER.

    `text` is a number of seconds or a date; one that is neither, or none at all, asks for 0. `now` has a time zone.
    """
    if text is None:
        return 0.0
    if text.strip().isdecimal():
        # Capped as text as well: int() refuses thousands of digits.
        return min(float(text.strip()[:9]), LONGEST_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(max(0.0, (date - now).total_seconds()), LONGEST_RETRY_AFTER)
