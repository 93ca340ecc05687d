"""Converts the kernel's stamps, which are on the wall clock, to the monotonic clock of the probes table.

The kernel slews both clocks alike, so their difference is one constant number until somebody steps the wall clock.
WallClock therefore measures this offset once, carefully, and keeps it: noise of later readings never gets into an RTT.
A later reading that the kept offset cannot explain means that the clock was stepped, and a new offset is measured.
For a stamp taken around a step several offsets are possible. The right one puts the stamp between the sending of its
probe and now.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

MARGIN_NS: Final = 1_000
"""Added to a reading's own uncertainty. A smaller step goes unnoticed, and causes no larger error than this."""

_READINGS: Final = 16
"""How many readings to take, to keep the most certain one: about 10 us, at the start and after each step."""

_OFFSETS_KEPT: Final = 8
"""How many offsets to keep. A probe is in flight for about a second, in which the clock is not stepped more often."""


class Reading(NamedTuple):
    """The wall clock, read between two readings of the monotonic clock; nanoseconds."""

    before: int
    wall: int
    after: int

    @property
    def offset(self) -> int:
        """Wall clock minus monotonic clock."""
        return self.wall - (self.before + self.after) // 2

    @property
    def uncertainty(self) -> int:
        """The largest possible error of `offset`."""
        return (self.after - self.before + 1) // 2


def read_clocks() -> Reading:
    """Read the clocks of this machine."""
    before = time.monotonic_ns()
    wall = time.time_ns()
    return Reading(before, wall, time.monotonic_ns())


@dataclass(slots=True)
class _Offset:
    """An offset, and the span of monotonic time in which it may have been valid."""

    value: int
    uncertainty: int
    since: int
    until: int | None = None

    def to_monotonic(self, stamp_ns: int, earliest_ns: int, latest_ns: int) -> int | None:
        at = stamp_ns - self.value
        slack = self.uncertainty + MARGIN_NS
        if self.until is not None:
            latest_ns = min(latest_ns, self.until)
        return at if max(earliest_ns, self.since) - slack <= at <= latest_ns + slack else None


class WallClock:
    """Converts stamps. `read` returns a reading of both clocks; tests pass clocks of their own."""

    def __init__(self, read: Callable[[], Reading] = read_clocks) -> None:
        self.steps = 0
        self._read = read
        self._certain_at = 0  # monotonic time at which the newest offset was last confirmed
        self._offsets: deque[_Offset] = deque(maxlen=_OFFSETS_KEPT)  # the newest first
        self._keep(self._most_certain(), since=0)

    @property
    def offset_ns(self) -> int:
        """Wall clock minus monotonic clock, as of the last `poll`."""
        return self._offsets[0].value

    def poll(self) -> int:
        """Detect a step of the wall clock, and return the monotonic clock. Call it before converting stamps."""
        reading = self._read()
        newest = self._offsets[0]
        if abs(reading.offset - newest.value) > reading.uncertainty + newest.uncertainty + MARGIN_NS:
            self.steps += 1
            best = self._most_certain()
            newest.until = best.after
            self._keep(best, since=self._certain_at)
            return best.after
        if reading.uncertainty <= MARGIN_NS:  # a less certain reading may have missed a step
            self._certain_at = reading.before
        return reading.after

    def to_monotonic(self, stamp_ns: int, earliest_ns: int, latest_ns: int) -> int | None:
        """Return the stamp on the monotonic clock, or None if no known offset puts it in earliest_ns..latest_ns.

        A stamp that lies outside by no more than the offset's uncertainty is moved to the nearer limit. The newest
        offset that fits is used. Two fit only if the step between them is shorter than the span; the result is then
        wrong by at most that span.
        """
        for offset in self._offsets:
            at = offset.to_monotonic(stamp_ns, earliest_ns, latest_ns)
            if at is not None:
                return min(max(at, earliest_ns), latest_ns)
        return None

    def _most_certain(self) -> Reading:
        return min((self._read() for _ in range(_READINGS)), key=lambda reading: reading.uncertainty)

    def _keep(self, reading: Reading, since: int) -> None:
        self._offsets.appendleft(_Offset(reading.offset, reading.uncertainty, since))
        self._certain_at = reading.before
