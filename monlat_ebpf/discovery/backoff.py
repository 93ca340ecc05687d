"""How long to wait before the next request. Pure: the caller passes the clock and the random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from monlat_ebpf.discovery.api_errors import Reason

_MOST_DOUBLINGS: Final = 32
"""Enough for any cap, and no overflow after a year of failures."""

_GROWING: Final = frozenset({Reason.DENIED, Reason.REQUEST, Reason.CLOSED, Reason.INTERNAL})
"""Failures that do not pass by themselves. All others are an outage of the server, which ends at any moment."""


class Backoff:
    """Waits in proportion to the number of agents, so that all of them together ask `per_second` times a second.

    Each wait is random, from 0 to a ceiling (full jitter), so agents that failed together spread over the whole of it
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). After the first failure the ceiling is
    the time in which all agents ask once, `base` seconds at least. The mean of a random wait is half its ceiling, so in
    an outage the ceiling becomes twice that time, `outage_cap` at least. A failure that will not pass by itself doubles
    the ceiling each time, up to `cap`; so does every failure while the number of agents is not known.
    """

    def __init__(
        self,
        *,
        base: float,
        cap: float,
        outage_cap: float,
        per_second: float,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._base = base
        self._cap = cap
        self._outage_cap = outage_cap
        self._per_second = per_second
        self._draw = draw
        self._failures = 0  # since the last success
        self._growing = 0  # of those, how many of _GROWING were the last ones
        self._has_waited = False

    def next_delay(self, reason: Reason, agents: int, at_least: float = 0.0) -> float:
        """Count a failure and return the seconds to wait: `at_least`, plus the jitter. `agents` is 0 if not known.

        After a random wait, an agent that is told to list again does so at once: its turn was random already.
        """
        self._failures += 1
        self._growing = self._growing + 1 if reason in _GROWING else 0
        if reason is Reason.GONE and self._has_waited and agents:
            self._has_waited = False
            return at_least
        self._has_waited = True
        return at_least + self._draw(0.0, self._ceiling(agents))

    def _ceiling(self, agents: int) -> float:
        spread = agents / self._per_second
        is_outage = agents > 0 and self._growing == 0
        failures = self._growing if agents and self._growing else self._failures
        cap = max(self._outage_cap if is_outage else self._cap, 2 * spread)
        return min(cap, max(self._base, spread) * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))

    def reset(self) -> None:
        """Start again at the base, after a success."""
        self._failures = self._growing = 0
        self._has_waited = False


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
