"""Puts the kernel's stamps, which are of the wall clock, on the monotonic clock of the table.

The kernel slews both clocks alike: what lies between them is one number, until somebody steps the wall
clock. So one careful reading is kept and no noise of later ones gets into an RTT; a reading that the kept
one cannot explain is a step. A stamp made around a step belongs to whichever offset puts it where it must
have been: between the sending of its probe and now.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

MARGIN_NS: Final = 1_000
"""Of a reading beyond its own uncertainty; a step smaller than this goes unseen, and makes no more of an error."""

_READINGS: Final = 16
"""How many readings to choose the surest of, once at start and once after a step: some 10 us."""

_REMEMBERED: Final = 8
"""How many offsets to keep: a probe in flight for a second sees no more steps than that."""


class Reading(NamedTuple):
    """The wall clock read between two readings of the monotonic clock; nanoseconds."""

    before: int
    wall: int
    after: int

    @property
    def offset(self) -> int:
        """Wall clock minus monotonic clock."""
        return self.wall - (self.before + self.after) // 2

    @property
    def uncertainty(self) -> int:
        """How far `offset` can be from the truth."""
        return (self.after - self.before + 1) // 2


def read_clocks() -> Reading:
    """Read the clocks of this machine."""
    before = time.monotonic_ns()
    wall = time.time_ns()
    return Reading(before, wall, time.monotonic_ns())


@dataclass(slots=True)
class _Offset:
    """An offset and the span of the monotonic clock in which it may have been in force."""

    value: int
    uncertainty: int
    since: int
    until: int | None = None

    def place(self, stamp_ns: int, earliest_ns: int, latest_ns: int) -> int | None:
        at = stamp_ns - self.value
        slack = self.uncertainty + MARGIN_NS
        if self.until is not None:
            latest_ns = min(latest_ns, self.until)
        return at if max(earliest_ns, self.since) - slack <= at <= latest_ns + slack else None


class WallClock:
    """Converts stamps. `read` gives a reading of both clocks; tests give clocks of their own."""

    def __init__(self, read: Callable[[], Reading] = read_clocks) -> None:
        self.steps = 0
        self._read = read
        self._surely_held_at = 0
        self._offsets: deque[_Offset] = deque(maxlen=_REMEMBERED)  # the newest first
        self._keep(self._surest(), since=0)

    @property
    def offset_ns(self) -> int:
        """How far the wall clock is ahead of the monotonic one, as `look` last found it."""
        return self._offsets[0].value

    def poll(self) -> int:
        """Notice a step, if there was one, and return the monotonic clock. Call it before placing stamps."""
        reading = self._read()
        held = self._offsets[0]
        if abs(reading.offset - held.value) > reading.uncertainty + held.uncertainty + MARGIN_NS:
            self.steps += 1
            surest = self._surest()
            held.until = surest.after
            self._keep(surest, since=self._surely_held_at)
            return surest.after
        if reading.uncertainty <= MARGIN_NS:  # a wider one may have missed a step
            self._surely_held_at = reading.before
        return reading.after

    def place(self, stamp_ns: int, earliest_ns: int, latest_ns: int) -> int | None:
        """Return the stamp on the monotonic clock, None where no known offset puts it between the two instants.

        What the offset's uncertainty puts a microsecond outside of them is returned as the nearer of them.
        The newest offset that fits wins. Two can fit only when the step between them is shorter than the
        span; the result is then wrong by no more than that span.
        """
        for offset in self._offsets:
            at = offset.place(stamp_ns, earliest_ns, latest_ns)
            if at is not None:
                return min(max(at, earliest_ns), latest_ns)
        return None

    def _surest(self) -> Reading:
        return min((self._read() for _ in range(_READINGS)), key=lambda reading: reading.uncertainty)

    def _keep(self, reading: Reading, since: int) -> None:
        self._offsets.appendleft(_Offset(reading.offset, reading.uncertainty, since))
        self._surely_held_at = reading.before
